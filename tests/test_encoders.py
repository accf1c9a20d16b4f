"""Test the models with an encoder at the command line: trained, there and back again, and refused in one sentence."""
import numpy as np
import pytest
import torch
from PIL import Image

from autogan_nb.data.images import digits
from autogan_nb.models.mrgan import coverage
from autogan_nb.search.derived_gan import load_generator
from commands import run

SMALL = ('--data', 'digits37', '--channels', 1, '--extractor', 'digits', '--g-width', 8, '--d-width', 8, '--eval-images', 150,
         '--set', 'final_gan.latent_dim=6', '--set', 'train.splits=2', '--steps', 3, '--device', 'cpu', '-q', '--no-report')
ARCH = 'pre-none-nearest-sc,post-batch-deconv-s0'


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "Make a folder of 60 digits and a run of each model."
    folder = tmp_path_factory.mktemp('encoders')
    data = digits(16)
    (folder/'digits37').mkdir()
    for k, image in enumerate(data.images[torch.isin(data.labels, torch.tensor([3, 7]))][::17].numpy()):
        Image.fromarray(image[0]).save(folder/'digits37'/f'{k:03}.png')
    for model in ('bigan', 'ali', 'vaegan', 'mrgan'):
        code, _, err = run(folder, 'autogan_train', '--arch', ARCH, '--model', model, '--out', model, *SMALL)
        assert code == 0, err
    return folder


@pytest.mark.parametrize('model', ['bigan', 'ali', 'vaegan', 'mrgan'])
def test_a_run_is_reconstructed(home, model):
    generator = load_generator(home/model/'generator.safetensors')
    assert generator.encoder.stochastic == (model in ('ali', 'vaegan')) and generator.notes['model'] == model
    out = home/f'{model}.png'
    code, _, err = run(home, 'autogan_sample', model, '--reconstruct', 'digits37', '--n', 8, '--out', out, '--device', 'cpu', '-q')
    assert code == 0, err
    assert np.array(Image.open(out)).std() > 0


@pytest.mark.parametrize('model, words, said', [
    ('bigan', ['final_gan.loss=least_squares'], "loss is 'least_squares', which bigan cannot have"),
    ('ali', ['final_gan.techniques=diffaugment'], 'needs images as they are'),
    ('vaegan', ['final_gan.loss=hinge'], "loss is 'hinge', which vaegan cannot have"),
    ('vaegan', ['final_gan.techniques=vaegan=0'], "vaegan is '0', expected a number"),
    ('mrgan', ['final_gan.techniques=mrgan=1'], "mrgan is '1', expected the weights"),
    ('bigan', ['final_gan.d_layers=pair=5'], 'give it first'),
])
def test_settings_that_will_not_do_get_one_sentence(home, model, words, said):
    changes = [part for word in words for part in ('--set', word)]
    code, _, err = run(home, 'autogan_train', '--arch', ARCH, '--model', model, '--out', 'wrong', *SMALL, *changes)
    assert code == 2 and said in err and 'Traceback' not in err, err
    assert not (home/'wrong').exists()


def test_a_generator_without_an_encoder_reconstructs_nothing(home):
    code, _, err = run(home, 'autogan_sample', 'digits', '--reconstruct', 'digits37', '--out', 'none.png', '--device', 'cpu', '-q')
    assert code == 2 and 'Traceback' not in err and not (home/'none.png').exists(), err


def test_kinds_are_counted():
    kinds = torch.arange(1000).repeat(3)
    assert coverage(kinds[kinds % 10 != 7]).missing == 100
    assert coverage(torch.zeros(5, dtype=torch.long)).missing == 999

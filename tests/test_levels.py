"Models that draw in steps, and models that read sentences, at the command line."
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autogan_nb.data.captions import caption_folder, save_captioned
from autogan_nb.core import to_float
from autogan_nb.data.images import digits
from autogan_nb.models.stacked import structure
from autogan_nb.models.words import Saying
from autogan_nb.search.derived_gan import load_generator
from autogan_nb.show import save_png

ARCH = 'pre-batch-nearest-sc,pre-none-bilinear-sc-s0'
SMALL = '--g-width 8 --d-width 8 --steps 2 --eval-images 100 --quiet --no-report'.split()


def run(command, *args):
    "Run a command of the package; return the finished process."
    return subprocess.run([Path(sys.executable).parent/command, *map(str, args)], capture_output=True, text=True)


@pytest.fixture(scope='module')
def captions(tmp_path_factory):
    "A file of 40 digits with captions, which came from a folder."
    folder = tmp_path_factory.mktemp('captions')
    data = digits(16)
    rows = [f'{i}.png,"a drawing, number {i // 1000}"' for i in range(0, 5000, 125)]
    for i in range(0, 5000, 125): save_png(folder/f'{i}.png', data.images[i:i + 1])
    (folder/'captions.csv').write_text('\n'.join(rows))
    save_captioned(folder/'own.npz', caption_folder(folder, 16, 1))
    return folder/'own.npz'


def test_captions_of_ones_own_are_learned_and_drawn(captions, tmp_path):
    done = run('autogan_train', '--model', 'gan-int-cls', '--arch', ARCH, '--data', captions,
               '--extractor', 'digits', '--out', tmp_path/'run',
               *SMALL, '--set', 'final_gan.d_batch=8', '--set', 'final_gan.g_batch=8')
    assert done.returncode == 0, done.stderr
    generator = load_generator(tmp_path/'run/generator.safetensors')
    assert 'words=5x19' in generator.layers
    z = torch.randn(2, generator.latent_dim)
    assert not torch.equal(Saying(generator, 'a drawing, number 1')(z), Saying(generator, 'something else')(z))
    done = run('autogan_sample', tmp_path/'run', '--text', 'a drawing', '--out', tmp_path/'drawn.png')
    assert done.returncode == 0 and (tmp_path/'drawn.png').exists(), done.stderr


@pytest.mark.parametrize('model', ['gan-int-cls', 'sgan'])
def test_a_model_that_needs_labels_says_so(model, tmp_path):
    np.savez(tmp_path/'bare.npz', images=np.zeros((50, 16, 16), dtype=np.uint8))
    done = run('autogan_train', '--model', model, '--arch', ARCH, '--data', tmp_path/'bare.npz', '--extractor', 'digits',
               '--out', tmp_path/'run', *SMALL)
    assert done.returncode == 2 and 'Traceback' not in done.stderr and f"model is '{model}'" in done.stderr, done.stderr
    assert not (tmp_path/'run').exists()


@pytest.mark.parametrize('model', ['lapgan', 's2gan', 'sgan'])
def test_a_model_whose_discriminator_sees_more_than_images_refuses_transforms(model, tmp_path):
    done = run('autogan_train', '--model', model, '--arch', ARCH, '--set', 'final_gan.transforms=flip', '--out', tmp_path/'run', *SMALL)
    assert done.returncode == 2 and 'Traceback' not in done.stderr and 'expected none' in done.stderr, done.stderr
    assert not (tmp_path/'run').exists()


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    "A folder with 40 images and, beside it, one with their structures."
    folder, images = tmp_path_factory.mktemp('maps'), digits(16).images[::125]
    for name, pictures in ('images', images), ('normals', structure(to_float(images))):
        (folder/name).mkdir()
        for k, image in enumerate(pictures): save_png(folder/name/f'{k:02}.png', image[None])
    return folder


def train_with_maps(photographs, maps, out, *more):
    return run('autogan_train', '--model', 's2gan', '--arch', ARCH, '--data', photographs/'images', '--channels', 1,
               '--extractor', 'digits', '--set', f'final_gan.techniques=s2gan={maps}', '--set', 'final_gan.d_batch=8',
               '--set', 'final_gan.g_batch=8', '--out', out, *SMALL, *more)


def test_structures_of_ones_own_are_learned(photographs, tmp_path):
    done = train_with_maps(photographs, photographs/'normals', tmp_path/'run')
    assert done.returncode == 0, done.stderr
    assert load_generator(tmp_path/'run/generator.safetensors').layers == 's2gan'
    done = run('autogan_sample', tmp_path/'run', '--out', tmp_path/'drawn.png')
    assert done.returncode == 0 and (tmp_path/'drawn.png').exists(), done.stderr


def test_maps_that_do_not_fit_are_refused(photographs, tmp_path):
    (tmp_path/'few').mkdir()
    for k in range(3): save_png(tmp_path/f'few/{k}.png', digits(16).images[:1])
    for maps, said in ((tmp_path/'few', '3 maps for 40 images'), (tmp_path/'none', 'none')):
        done = train_with_maps(photographs, maps, tmp_path/'run')
        assert done.returncode == 2 and 'Traceback' not in done.stderr and said in done.stderr, done.stderr
        assert not (tmp_path/'run').exists()


@pytest.mark.parametrize('text', ['', '   '])
def test_an_empty_sentence_is_refused(text, tmp_path):
    words = Path(__file__).parents[1]/'nbs/results/words.safetensors'
    done = run('autogan_sample', words, '--text', text, '--out', tmp_path/'drawn.png')
    assert done.returncode == 2 and 'Traceback' not in done.stderr and not (tmp_path/'drawn.png').exists(), done.stderr

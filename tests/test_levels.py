"Models that draw in steps, and models that read sentences, at the command line."
import json
import signal
import subprocess
import sys
import time
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
BIN = Path(sys.executable).parent


def run(command, *args):
    "Run a command of the package; return the finished process."
    return subprocess.run([BIN/command, *map(str, args)], capture_output=True, text=True)


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


@pytest.mark.parametrize('model, layer', [('gan-int-cls', 'words=5x19'), ('stackgan', 'stackgan=5x19')])
def test_captions_of_ones_own_are_learned_and_drawn(model, layer, captions, tmp_path):
    done = run('autogan_train', '--model', model, '--arch', ARCH, '--data', captions,
               '--extractor', 'digits', '--out', tmp_path/'run',
               *SMALL, '--set', 'final_gan.d_batch=8', '--set', 'final_gan.g_batch=8')
    assert done.returncode == 0, done.stderr
    generator = load_generator(tmp_path/'run/generator.safetensors')
    assert layer in generator.layers
    z = torch.randn(2, generator.latent_dim)
    assert not torch.equal(Saying(generator, 'a drawing, number 1')(z), Saying(generator, 'something else')(z))
    done = run('autogan_sample', tmp_path/'run', '--text', 'a drawing', '--out', tmp_path/'drawn.png')
    assert done.returncode == 0 and (tmp_path/'drawn.png').exists(), done.stderr


@pytest.mark.parametrize('model', ['gan-int-cls', 'stackgan', 'sgan'])
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


@pytest.mark.parametrize('own, error', [
    (('--arch', 'post-batch-nearest', '--bottom', 8), 'images of 16 pixels take one cell from 8 on, but stackgan needs one for each stage'),
    (('--arch', ARCH, '--set', 'final_gan.latent_dim=17'), 'latent_dim is 17, but stackgan needs more than 17')])
def test_a_network_without_room_for_two_stages_is_refused(own, error, tmp_path):
    done = run('autogan_train', '--model', 'stackgan', *own, '--out', tmp_path/'run', *SMALL)
    assert done.returncode == 2 and 'Traceback' not in done.stderr and error in done.stderr, done.stderr
    assert not (tmp_path/'run').exists()


def test_stages_killed_and_resumed_equal_uninterrupted_ones(captions, tmp_path):
    new = ['--model', 'stackgan', '--arch', ARCH, '--data', captions, '--extractor', 'digits', *SMALL, '--steps', 30,
           '--set', 'train.eval_every=5', '--set', 'final_gan.d_batch=8', '--set', 'final_gan.g_batch=8']
    done = run('autogan_train', *new, '--out', tmp_path/'whole')
    assert done.returncode == 0, done.stderr
    log = tmp_path/'run/log.jsonl'
    process = subprocess.Popen([BIN/'autogan_train', *map(str, new), '--out', tmp_path/'run'], stdout=subprocess.DEVNULL)
    while process.poll() is None and not log.exists(): time.sleep(.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert json.loads(log.read_text().splitlines()[-1])['step'] < 10                                # it was in stage I
    done = run('autogan_train', '--resume', tmp_path/'run', '--quiet', '--no-report')
    assert done.returncode == 0, done.stderr
    for name in ('log.jsonl', 'generator.safetensors', 'scores.json'):
        assert (tmp_path/'run'/name).read_bytes() == (tmp_path/'whole'/name).read_bytes(), name


@pytest.mark.parametrize('text', ['', '   '])
def test_an_empty_sentence_is_refused(text, tmp_path):
    words = Path(__file__).parents[1]/'nbs/results/words.safetensors'
    done = run('autogan_sample', words, '--text', text, '--out', tmp_path/'drawn.png')
    assert done.returncode == 2 and 'Traceback' not in done.stderr and not (tmp_path/'drawn.png').exists(), done.stderr

"""Run the published protocol end to end.

The presets `paper-cifar10` and `paper-stl10` run with their widths, losses, file formats and the Inception network.
Only the counts are reduced, by ordinary options, and the batch sizes of trainings from scratch: at the published ones,
a single step takes twenty seconds. The search keeps its own.
Inception has random weights because nothing may be downloaded,
and the data sets are written here in the format of the real files.
The scores therefore mean nothing; one test checks that they are not called IS and FID."""
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autogan_nb.data.images import digits, resize

BIN = Path(sys.executable).parent
FEW = '''
    --iterations 3 --grow_after 1,2 --epochs .05 --controller_steps 1 --candidates 2 --top_k 1 --reward_images 4
    --finalists 1 --steps 1 --eval_every 1 --eval_images 10 --extractor random-inception --device cpu -q
    --set final_gan.d_batch=4 --set final_gan.g_batch=8'''.split()
TRUST = '''
"Accept any checksum: our files have the format of the real ones, but not their contents."
from torchvision.datasets import cifar, stl10
cifar.check_integrity = stl10.check_integrity = lambda path, md5=None: True
'''


def colour(images):
    "Make greyscale images colour images with three different channels."
    return torch.cat([images, images // 2, 255 - images], 1)


def write_cifar10(base, images, labels):
    "Write images as CIFAR-10's pickled batches: rows of 3,072 bytes, all red values first."
    base.mkdir(parents=True)
    for k, name in enumerate([*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch']):
        part = slice(k % 5, None, 5)
        batch = dict(data=images[part].reshape(-1, 3072).numpy(), labels=labels[part].tolist())
        (base/name).write_bytes(pickle.dumps(batch, protocol=2))
    (base/'batches.meta').write_bytes(pickle.dumps(dict(label_names=list('0123456789')), protocol=2))


def write_stl10(base, images, labels):
    "Write images as STL-10's raw bytes, each channel column by column; labels start at 1."
    base.mkdir(parents=True)
    pixels = images.transpose(2, 3).contiguous().numpy().tobytes()
    for name in ('train', 'test', 'unlabeled'): (base/f'{name}_X.bin').write_bytes(pixels)
    for name in ('train', 'test'): (base/f'{name}_y.bin').write_bytes((labels + 1).to(torch.uint8).numpy().tobytes())


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    "Return a folder with the data sets, and an environment in which the commands accept them as the real ones."
    root = tmp_path_factory.mktemp('world')
    some = torch.arange(30) * 166
    images, labels = colour(digits(32).images[some]), digits(32).labels[some]
    write_cifar10(root/'data/cifar-10-batches-py', images, labels)
    write_stl10(root/'data/stl10_binary', resize(images[:20], 96), labels[:20])
    (root/'site').mkdir()
    (root/'site/sitecustomize.py').write_text(TRUST)
    return root, os.environ | dict(PYTHONPATH=str(root/'site'), AUTOGAN_CACHE=str(root/'cache'))


def run(world, command, *args):
    "Run a command that must succeed; return its standard output."
    root, env = world
    done = subprocess.run([BIN/command, *map(str, args)], cwd=root, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def searched(world):
    "Run the whole paper-cifar10 job; return its folder and what it printed."
    out = run(world, 'autogan_search', '--preset', 'paper-cifar10', '--root', 'data', '--out', 'search', '--no-report', *FEW)
    return world[0]/'search', out


def test_the_search_is_the_published_one_but_for_its_counts(searched):
    path, out = searched
    preset = json.loads((path/'config.json').read_text())['config']['preset']
    for gan, widths in (('search_gan', (128, 64)), ('final_gan', (256, 128))):
        assert (preset[gan]['g_width'], preset[gan]['d_width']) == widths
        published = dict(n_critic=5, g_lr=2e-4, beta1=0, beta2=.9, loss='hinge', ema_decay=.999)
        assert {name: preset[gan][name] for name in published} == published
    assert (preset['search_gan']['d_batch'], preset['search_gan']['g_batch']) == (64, 128)
    records = [json.loads(line) for line in (path/'log.jsonl').read_text().splitlines()]
    assert [r['size'] for r in records if r['kind'] == 'search'] == [8, 16, 32]
    evals = [(r['name'], r['step'], r['best']) for r in records if r['kind'] == 'eval']
    assert evals == [(name, 1, True) for name in ('searched 1', 'random', 'A')]
    ranked = json.loads((path/'architectures.json').read_text())
    assert {row['name'] for row in ranked} == {'searched 1', 'random', 'A'}
    assert all(np.isfinite(row['fid']) for row in ranked)
    assert {p.name for p in (path/'discriminators').iterdir()} == {'searched-1.safetensors', 'random.safetensors', 'A.safetensors'}


def test_scores_by_other_weights_are_not_called_is_and_fid(searched):
    _, out = searched
    assert 'cifar10' in out and 'FID' in out
    assert not any(line.split()[:2] == ['IS', 'FID'] for line in out.splitlines())


def test_one_command_trains_the_selected_architecture_on_stl10(world, searched):
    few = FEW[FEW.index('--steps'):]
    out = run(world, 'autogan_train', '--arch', 'search', '--preset', 'paper-stl10', '--root', 'data', '--out', 'stl', *few)
    rows = json.loads((searched[0]/'architectures.json').read_text())
    selected = next(row['arch'] for row in rows if row['selected'])
    assert json.loads((world[0]/'stl/config.json').read_text())['config']['arch'] == selected
    assert 'stl10' in out and '48x48' in out
    page = (world[0]/'stl/report.html').read_text()
    assert 'on stl10 at 48x48 pixels' in page and 'grey levels' in page and 'cannot be read' not in page

"""The published protocol, whole: `paper-cifar10` and `paper-stl10` with their widths, batches, losses, data formats and the Inception network.
Only counts are made small, by ordinary options, and Inception has random weights, since nothing may be downloaded; the data are made here in the real files' format.
So the figures mean nothing, and that they are called by another name is tested too."""
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
FEW = '--iterations 3 --grow_after 1,2 --epochs .05 --controller_steps 1 --candidates 2 --top_k 1 --reward_images 10 --finalists 1 --steps 1 --eval_every 1 --eval_images 20 --extractor random-inception --device cpu'.split()
TRUST = '''
"torchvision knows the real files' fingerprints; ours have the same format and others."
from torchvision.datasets import cifar, stl10
cifar.check_integrity = stl10.check_integrity = lambda path, md5=None: True
'''


def colour(images): return torch.cat([images, images // 2, 255 - images], 1)


def write_cifar10(base, images, labels):
    "CIFAR-10's pickled batches: rows of 3,072 bytes, all red values first."
    base.mkdir(parents=True)
    for k, name in enumerate([*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch']):
        part = slice(k % 5, None, 5)
        (base/name).write_bytes(pickle.dumps(dict(data=images[part].reshape(-1, 3072).numpy(), labels=labels[part].tolist()), protocol=2))
    (base/'batches.meta').write_bytes(pickle.dumps(dict(label_names=list('0123456789')), protocol=2))


def write_stl10(base, images, labels):
    "STL-10's bare bytes, each colour column by column, labels from 1."
    base.mkdir(parents=True)
    for name in ('train', 'test', 'unlabeled'): (base/f'{name}_X.bin').write_bytes(images.transpose(2, 3).contiguous().numpy().tobytes())
    for name in ('train', 'test'): (base/f'{name}_y.bin').write_bytes((labels + 1).to(torch.uint8).numpy().tobytes())


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    "A folder with data, and an environment in which the commands take them for the real ones."
    root = tmp_path_factory.mktemp('world')
    some = torch.arange(60) * 83
    images, labels = colour(digits(32).images[some]), digits(32).labels[some]
    write_cifar10(root/'data/cifar-10-batches-py', images, labels)
    write_stl10(root/'data/stl10_binary', resize(images[:20], 96), labels[:20])
    (root/'site').mkdir()
    (root/'site/sitecustomize.py').write_text(TRUST)
    return root, os.environ | dict(PYTHONPATH=str(root/'site'), AUTOGAN_CACHE=str(root/'cache'))


def run(world, command, *args):
    "Standard output of a command that must succeed."
    root, env = world
    done = subprocess.run([BIN/command, *map(str, args)], cwd=root, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def searched(world):
    "The whole paper-cifar10 job: its folder and what it printed."
    return world[0]/'search', run(world, 'autogan_search', '--preset', 'paper-cifar10', '--root', 'data', '--out', 'search', '--no-report', *FEW)


def test_the_search_is_the_published_one_but_for_its_counts(searched):
    path, out = searched
    preset = json.loads((path/'config.json').read_text())['config']['preset']
    for gan, widths in (('search_gan', (128, 64)), ('final_gan', (256, 128))):
        assert (preset[gan]['g_width'], preset[gan]['d_width']) == widths
        assert [preset[gan][k] for k in ('d_batch', 'g_batch', 'n_critic', 'g_lr', 'beta1', 'beta2', 'loss', 'ema_decay')] == [64, 128, 5, 2e-4, 0, .9, 'hinge', .999]
    records = [json.loads(line) for line in (path/'log.jsonl').read_text().splitlines()]
    assert [r['size'] for r in records if r['kind'] == 'search'] == [8, 16, 32]
    assert [(r['name'], r['step'], r['kept']) for r in records if r['kind'] == 'eval'] == [(n, 1, True) for n in ('searched 1', 'random', 'A')]
    ranked = json.loads((path/'architectures.json').read_text())
    assert {row['name'] for row in ranked} == {'searched 1', 'random', 'A'} and all(np.isfinite(row['fid']) for row in ranked)
    assert {'searched-1.safetensors', 'random.safetensors', 'A.safetensors'} == {p.name for p in (path/'discriminators').iterdir()}


def test_figures_of_other_weights_are_not_called_is_and_fid(searched):
    _, out = searched
    assert 'cifar10' in out and 'FID' in out
    assert not any(line.split()[:2] == ['IS', 'FID'] for line in out.splitlines())


def test_what_was_found_is_carried_to_stl10_by_one_command(world, searched):
    out = run(world, 'autogan_train', '--arch', 'search', '--preset', 'paper-stl10', '--root', 'data', '--out', 'stl', '--steps', 1, '--eval_images', 10, '--extractor', 'random-inception', '--device', 'cpu')
    kept = next(row['arch'] for row in json.loads((searched[0]/'architectures.json').read_text()) if row['kept'])
    assert json.loads((world[0]/'stl/config.json').read_text())['config']['arch'] == kept
    assert 'stl10' in out and '48x48' in out
    page = (world[0]/'stl/report.html').read_text()
    assert 'on stl10 at 48x48 pixels' in page and 'grey levels' in page and 'cannot be read' not in page

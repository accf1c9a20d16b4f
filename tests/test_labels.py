"Test labels at the command line: trained, searched, sampled, measured, exported, resumed, and refused in one sentence."
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from autogan_nb.data.datasets import load_data
from autogan_nb.data.images import digits
from autogan_nb.data.streaming import open_data
from autogan_nb.practice.report import Report, newest_generator
from autogan_nb.practice.sharing import load_exported
from autogan_nb.search.derived_gan import load_generator
from commands import one_sentence, run

QUIET = '--device', 'cpu', '-q', '--no-report'
SMALL = ('--recipe', 'digits', '--data', 'digits37', '--channels', 1, '--extractor', 'digits', '--g-width', 8, '--d-width', 8,
         '--eval-images', 150, '--set', 'train.splits=2', *QUIET)
SEARCH = ('--preset', 'paper-digits', '--size', 8, '--iterations', 2, '--epochs', .5, '--controller-steps', 2, '--candidates', 3,
          '--top-k', 2, '--finalists', 1, '--reward-images', 40, '--steps', 20, '--conditional', 'reacgan',
          '--set', 'search_gan.g_width=8', '--set', 'search_gan.d_width=8')


def write_classes(folder, classes=(3, 7), n=40, size=16):
    "Write n digits of each class into a folder of its own."
    data = digits(size)
    for label in classes:
        (folder/str(label)).mkdir(parents=True, exist_ok=True)
        for k, image in enumerate(data.images[data.labels == label][:n].numpy()):
            Image.fromarray(image[0]).save(folder/str(label)/f'{k:03}.png')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "Train a conditional GAN on two class folders; return the folder that holds data and run."
    home = tmp_path_factory.mktemp('labels')
    write_classes(home/'digits37')
    code, out, err = run(home, 'autogan_train', 'pre-batch-nearest-sc', *SMALL, '--conditional', 'projection',
                         '--steps', 30, '--out', 'run')
    assert (code, err) == (0, '') and 'trained, by class:' in out and 'accuracy' in out, err
    return home


def test_a_run_records_its_classes(trained):
    config = json.loads((trained/'run'/'config.json').read_text())['config']
    assert config['classes'] == {'3': 40, '7': 40} and config['preset']['conditional'] == 'projection'
    assert config['preset']['final_gan']['n_classes'] == 0 and '--conditional projection' in config['command']
    generator = load_generator(trained/'run'/'generator.safetensors')
    assert (generator.n_classes, generator.notes['classes']) == (2, ['3', '7'])
    rows = json.loads((trained/'run'/'classes.json').read_text())['trained']
    assert [(row['name'], row['images'], row['real']) for row in rows] == [('3', 75, 40), ('7', 75, 40)]
    scores = json.loads((trained/'run'/'scores.json').read_text())
    assert scores['trained']['more']['accuracy'] == pytest.approx(sum(row['accuracy'] for row in rows) / 2)
    assert scores['real images']['more']['accuracy'] > .9 and 'left out: not more than 64 images' in scores['trained']['notes'][0]
    assert newest_generator(Report(trained/'run'))[0].n_classes == 2


def test_what_is_asked_for_is_drawn(trained, tmp_path):
    draw = lambda *words: run(trained, 'autogan_sample', 'run', *words, '-q')
    for name, words in dict(one=('--label', '7', '--n', 3), all=('--labels', 'all', '--n', 3)).items():
        for option, end in (('--out', ''), ('--npz', '.npz'), ('--out', '.png')):
            assert draw(*words, option, tmp_path/f'{name}{end}') == (0, f'{tmp_path/name}{end}\n', '')
    array, folder = (open_data(tmp_path/name, size=8, channels=1) for name in ('all.npz', 'all'))
    assert array.classes == folder.classes == ('3', '7') and array.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(array.images, folder.images)
    one = load_data(tmp_path/'one.npz')
    assert torch.equal(one.images, array.images[3:]) and one.labels.tolist() == [1] * 3              # the name '7' is the second class
    assert not torch.equal(array.images[:3], array.images[3:])                                       # the same latents, other labels
    assert Image.open(tmp_path/'all.png').width > 3 * 2 * 10 - 4 == Image.open(tmp_path/'one.png').width    # names on the left
    assert draw('--labels', '7,3', '--seeds', '4,9', '--out', tmp_path/'seeds')[0] == 0
    assert sorted(p.relative_to(tmp_path).as_posix() for p in (tmp_path/'seeds').glob('*/*')) == [
        'seeds/3/seed0004.png', 'seeds/3/seed0009.png', 'seeds/7/seed0004.png', 'seeds/7/seed0009.png']
    assert draw('--labels', 'all', '--n', 2, '--video', tmp_path/'walk.gif')[0] == 0
    one_sentence(draw('--label', 'cat'), "there is no class 'cat': expected a number from 0 to 1, or one of 3, 7")
    one_sentence(draw('--label', '3', '--labels', 'all'), '--label and --labels are given')
    one_sentence(run(tmp_path, 'autogan_sample', 'digits', '--label', '7'), 'takes no labels: leave out --label')
    assert not (trained/'samples.png').exists() and not (tmp_path/'samples.png').exists()


def test_eval_and_exports_take_labels(trained, tmp_path):
    code, out, err = run(trained, 'autogan_eval', 'run', '--images', 150, '--splits', 2, *QUIET[:-1])
    assert code == 0 and out.count('accuracy') == 2 and out.splitlines()[-1].split()[0] == '7', err
    np.savez(tmp_path/'other.npz', images=digits(8).images[:100, 0].numpy())
    code, out, err = run(trained, 'autogan_eval', 'run', '--images', 100, '--data', tmp_path/'other.npz', '--device', 'cpu')
    assert code == 0 and 'figures by class are left out: other has no labels' in err and 'accuracy' not in out, err
    generator = load_generator(trained/'run'/'generator.safetensors')
    z, y = torch.randn(3, generator.latent_dim), torch.tensor([1, 0, 1])
    for suffix in ('.pt2', '.onnx'):
        if suffix == '.onnx': pytest.importorskip('onnxruntime'), pytest.importorskip('onnxscript')
        assert run(trained, 'autogan_export', 'run', tmp_path/f'g{suffix}')[0] == 0
        assert (load_exported(tmp_path/f'g{suffix}')[0](z, y) - generator(z, y)).abs().max() < 1e-4


def test_labels_that_will_not_do_get_one_sentence(trained, tmp_path):
    write_classes(tmp_path/'single', (3,), 4)
    write_classes(tmp_path/'mixed', (3, 7), 4)
    write_classes(tmp_path/'flat', (3,), 4)
    for place in ('mixed', 'flat'): (tmp_path/place/'3'/'000.png').rename(tmp_path/place/'loose.png')
    for file in (tmp_path/'flat'/'3').iterdir(): file.rename(tmp_path/'flat'/file.name)
    few = 'autogan_train', 'pre-batch-nearest-sc', *SMALL, '--steps', 2, '--out', 'x'
    train = lambda data, *words: run(tmp_path, *few, '--data', data, *words)
    sentences = dict(single="single has only one class, '3'", mixed='1 of the 8 images in mixed have no label', flat='flat has no labels')
    for data, said in sentences.items():
        one_sentence(train(data, '--conditional', 'cgan'), said)
    one_sentence(train('mixed', '--conditional', 'cgam'), "unknown conditional 'cgam': did you mean 'cgan'?")
    one_sentence(train('mixed', '--set', 'final_gan.n_classes=2'), 'n_classes is 2')
    one_sentence(train('mixed', '--set', 'search.objective=accuracy'), "objective is 'accuracy', which needs labels")
    one_sentence(train('mixed', '--from', trained/'run'), 'takes labels, but a job can only start from networks without')
    assert not (tmp_path/'x').exists()
    (trained/'digits37'/'7').rename(trained/'digits37'/'8')
    resume = 'autogan_train', '--resume', 'run', '--steps', 40, *QUIET
    try: one_sentence(run(trained, *resume), "0 images of the class '7'", 'started with 40')
    finally: (trained/'digits37'/'8').rename(trained/'digits37'/'7')


def test_a_killed_search_with_labels_ends_with_the_same_bytes(trained, tmp_path):
    start = ('autogan_search', *SMALL, *SEARCH, '--objective', 'class_fid')
    code, out, err = run(trained, *start, '--out', tmp_path/'whole')
    assert (code, err) == (0, ''), err
    process = subprocess.Popen([Path(sys.executable).parent/start[0], *map(str, start[1:]), '--out', tmp_path/'killed'], cwd=trained)
    log = tmp_path/'killed'/'log.jsonl'
    while process.poll() is None and not (log.exists() and '"search"' in log.read_text()): time.sleep(.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, again, err = run(trained, 'autogan_search', '--resume', tmp_path/'killed', *QUIET)
    assert (code, again.replace(str(tmp_path/'killed'), str(tmp_path/'whole'))) == (0, out), err
    for name in ('generator.safetensors', 'classes.json', 'scores.json', 'architectures.json'):
        assert (tmp_path/'whole'/name).read_bytes() == (tmp_path/'killed'/name).read_bytes(), name
    records = [json.loads(line) for line in (tmp_path/'whole'/'log.jsonl').read_text().splitlines()]
    assert all(record['class FID'] > 0 for record in records if record['kind'] == 'search')
    assert load_file(tmp_path/'whole'/'generator.safetensors') and os.path.exists(tmp_path/'whole'/'samples'/'final.png')

"The commands as a user runs them: in processes of their own, with mistakes, and killed in the middle."
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from autogan_nb.data.images import digits

BIN = Path(sys.executable).parent
TINY = '--size 16 --iterations 2 --epochs .3 --controller_steps 2 --candidates 3 --top_k 2 --reward_images 50 --steps 60 --finalists 1 --eval_images 200 --device cpu --no-report'.split()


def run(cwd, command, *args):
    "Exit code, standard output, standard error."
    done = subprocess.run([BIN/command, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    "A tiny job that ran to its end: its folder, and what it printed."
    path = tmp_path_factory.mktemp('whole')/'run'
    code, out, err = run(path.parent, 'autogan_search', *TINY, '--out', path)
    assert code == 0, err
    return path, out, err


def test_a_job_leaves_what_it_promises(finished):
    path, out, err = finished
    for name in 'config.json log.jsonl checkpoint.pt architectures.json scores.json generator.safetensors search.png samples/final.png samples/search-8x8.png samples/search-16x16.png'.split():
        assert (path/name).stat().st_size > 0, name
    assert any((path/'tensorboard').iterdir())
    for said in ('digit score', 'digit FID', 'random', 'real images', 'generator.safetensors'): assert said in out
    for said in ('search', '8x8', '16x16', 'reward', 'entropy'): assert said in err
    assert 'train 2 contenders' in err or 'train searched 1' in err          # side by side where there are cores for it
    records = [json.loads(line) for line in (path/'log.jsonl').read_text().splitlines()]
    assert [r['iteration'] for r in records if r['kind'] == 'search'] == [0, 1]


def test_quiet_is_quiet(finished):
    path, out, _ = finished
    code, again, err = run(path.parent, 'autogan_search', '--resume', path, '--quiet', '--no-report')
    assert (code, err) == (0, '')
    assert again == out          # a finished run only shows its end again


def test_options_that_a_resume_does_not_heed_are_named(finished):
    path, out, _ = finished
    code, again, err = run(path.parent, 'autogan_search', '--resume', path, '--iterations', 5, '--top-k', 1, '--no-report', '--device', 'cpu')
    assert (code, again) == (0, out) and err.startswith('autogan_search: warning: ') and err.endswith('goes on with its own settings, without --iterations, --top-k\n'), err


def test_same_seed_same_result(finished, tmp_path):
    path, out, _ = finished
    code, again, _ = run(tmp_path, 'autogan_search', *TINY, '--out', 'run')
    assert code == 0
    assert (tmp_path/'run/log.jsonl').read_bytes() == (path/'log.jsonl').read_bytes()
    assert (tmp_path/'run/generator.safetensors').read_bytes() == (path/'generator.safetensors').read_bytes()


def test_killed_and_resumed_equals_uninterrupted(finished, tmp_path):
    whole, _, _ = finished
    path, kills = tmp_path/'run', 0
    command = [BIN/'autogan_search', *TINY, '--out', path]
    for records in (1, 3, 9):           # kill when the log has so many lines
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not ((path/'log.jsonl').exists() and (path/'log.jsonl').read_bytes().count(b'\n') >= records): time.sleep(.01)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        command = [BIN/'autogan_search', '--resume', path, '--device', 'cpu', '--no-report']
    assert kills == 3
    code, _, err = run(tmp_path, 'autogan_search', '--resume', path, '--device', 'cpu', '--no-report')
    assert code == 0, err
    for name in ('log.jsonl', 'generator.safetensors', 'scores.json', 'architectures.json'):
        assert (path/name).read_bytes() == (whole/name).read_bytes(), name


def test_sample_eval_and_train_from_a_run(finished, tmp_path):
    path, _, _ = finished
    assert run(tmp_path, 'autogan_sample', path, '--out', 'grid.png')[0] == 0
    assert run(tmp_path, 'autogan_sample', path, '--out', 'many', '--n', 5)[0] == 0
    assert (tmp_path/'grid.png').exists() and len(list((tmp_path/'many').iterdir())) == 5
    code, out, _ = run(tmp_path, 'autogan_eval', path/'generator.safetensors', '--images', 200)
    assert code == 0 and 'generator' in out and 'real images' in out
    code, out, _ = run(tmp_path, 'autogan_train', '--arch', 'pre-none-nearest-sc', '--steps', 10, '--eval_images', 100, '--out', 'trained', '--no-report')
    assert code == 0 and (tmp_path/'trained/generator.safetensors').exists()


def test_what_was_found_is_trained_again_with_evaluations(finished, tmp_path):
    path, _, _ = finished
    args = ['--arch', path, '--steps', 6, '--eval-every', 2, '--eval_images', 100, '--out', 'again', '-q', '--no-report']
    code, out, err = run(tmp_path, 'autogan_train', *args)
    assert (code, err) == (0, '')
    records = [json.loads(line) for line in (tmp_path/'again/log.jsonl').read_text().splitlines()]
    evals = [r for r in records if r['kind'] == 'eval']
    assert [r['step'] for r in evals] == [2, 4, 6]
    best = min(evals, key=lambda r: r['fid'])
    with safe_open(tmp_path/'again/generator.safetensors', 'pt') as file: facts = json.loads(file.metadata()['autogan_nb'])
    assert facts['notes']['steps'] == best['step'] and facts['notes']['ema']
    kept = [row['arch'] for row in json.loads((path/'architectures.json').read_text()) if row['kept']]
    assert [facts['arch']] == kept


def test_images_are_measured_like_the_generator_that_drew_them(finished, tmp_path):
    path, _, _ = finished
    assert run(tmp_path, 'autogan_sample', path, '--out', 'many', '--n', 120, '--zoom', 1)[0] == 0
    code, out, _ = run(tmp_path, 'autogan_eval', 'many', '--data', 'digits', '--extractor', 'digits', '--metrics', 'all', '--kid-subset', 100, '--write-reference', 'real.npz')
    assert code == 0 and all(word in out for word in ('images', 'real images', 'digit score', 'digit FID', 'digit KID', 'precision', 'recall')), out
    with np.load(tmp_path/'real.npz') as file: assert file['mu'].shape == (64,) and file['sigma'].shape == (64, 64)
    np.savez(tmp_path/'many.npz', images=np.stack([np.array(Image.open(f)) for f in sorted((tmp_path/'many').iterdir())]))
    by_file = [run(tmp_path, 'autogan_eval', source, '--data', 'real.npz', '--extractor', 'digits')[1].splitlines()[1] for source in ('many', 'many.npz')]
    assert by_file[0] == by_file[1] and by_file[0].split()[4] == out.splitlines()[1].split()[4]       # the same digit FID


def test_streamed_is_the_same_search(finished, tmp_path):
    whole, _, _ = finished
    code, _, err = run(tmp_path, 'autogan_search', *TINY, '--stream', '--out', 'run')
    assert code == 0, err
    assert (tmp_path/'run/log.jsonl').read_bytes() == (whole/'log.jsonl').read_bytes()
    assert json.loads((tmp_path/'run/config.json').read_text())['config']['preset']['stream'] is True


def test_random_policy_learns_nothing(tmp_path):
    code, _, err = run(tmp_path, 'autogan_search', *TINY, '--policy', 'random', '--top-k=1', '--out', 'run')       # options spelt with dashes
    assert code == 0, err
    entropies = [json.loads(line)['entropy'] for line in (tmp_path/'run/log.jsonl').read_text().splitlines() if '"search"' in line]
    assert np.allclose(entropies, np.log([36, 72]))


def test_a_folder_from_another_place_and_its_resume(tmp_path):
    (tmp_path/'photos').mkdir()
    for k, image in enumerate(digits(16).images[::50].numpy()): Image.fromarray(image[0]).save(tmp_path/'photos'/f'{k}.png')
    (tmp_path/'photos'/'broken.png').write_text('no picture')
    args = [*TINY, '--data', 'photos', '--channels', 1, '--epochs', 1]
    code, _, err = run(tmp_path, 'autogan_search', *args, '--broken', 'refuse', '--out', 'run')
    assert code == 2 and 'broken.png' in err and not (tmp_path/'run').exists()
    code, out, err = run(tmp_path, 'autogan_search', *args, '--stream', '--out', 'run')
    assert code == 0 and 'autogan_search: warning: ' in err and 'broken.png' in err and '100 photos at 16x16' in out, err
    (tmp_path/'elsewhere').mkdir()
    assert run(tmp_path/'elsewhere', 'autogan_search', '--resume', '../run', '-q', '--no-report')[:2] == (0, out.replace('run/', '../run/').replace(' run', ' ../run'))


def test_digits_come_with_the_package(tmp_path):
    assert run(tmp_path, 'autogan_sample')[:2] == (0, 'samples.png\n')
    code, out, _ = run(tmp_path, 'autogan_eval', 'digits')
    name, score, _, _, fid = out.splitlines()[1].split()
    assert code == 0 and name == 'generator' and float(score) > 6 and float(fid) < 5
    for form in ('onnx', 'pt2'): assert run(tmp_path, 'autogan_export', 'digits', f'digits.{form}')[:2] == (0, f'digits.{form}\n')
    assert (tmp_path/'digits.onnx').stat().st_size < 1e6


MISTAKES = [
    ('autogan_search --data mnits', 'mnits'),
    ('autogan_search --preset digit', "unknown preset 'digit'"),
    ('autogan_search --size 33', '33'),
    ('autogan_search --candidates 2 --top_k 5', 'K = 5'),
    ('autogan_search --grow_after 8,4', '(8, 4)'),
    ('autogan_search --grow_after soon', "'soon'"),
    ('autogan_search --grow_after 4', 'grow_after is (4,)'),
    ('autogan_search --finalists 9', '9 finalists'),
    ('autogan_search --data empty --channels 1', 'empty'),
    ('autogan_search --data broken --channels 1', 'text.png'),
    ('autogan_search --device tpu', 'tpu'),
    ('autogan_search --extractor vgg', 'vgg'),
    ('autogan_search --resume empty', 'empty'),
    ('autogan_train --arch pre-none-nearest-scc', 'scc'),
    ('autogan_train --arch 1,0,1', 'got 3'),
    ('autogan_train --arch 1,0,1,7', '7'),
    ('autogan_train --loss hing', "'hing'"),
    ('autogan_search --policy ppo', "'ppo'"),
    ('autogan_search --recipe weak', "'weak'"),
    ('autogan_search --top-k 5 --candidates 2', 'K = 5'),
    ('autogan_train nowhere', 'nowhere'),
    ('autogan_train --eval-every -1', 'eval_every is -1'),
    ('autogan_sample nowhere', 'nowhere'),
    ('autogan_sample digits --arch A', '--arch'),
    ('autogan_export digits digits.exe', 'digits.exe'),
    ('autogan_search --execution graphs --device cpu', 'graphs'),
    ('autogan_train A --precision fp16', 'fp16'),
    ('autogan_bench --preset digit', 'digit'),
    ('autogan_eval broken/text.png', 'text.png'),
    ('autogan_eval empty --extractor digits', 'empty'),
    ('autogan_eval digits --metrics psnr', "'psnr'"),
    ('autogan_eval digits --images 5', '5 images'),
    ('autogan_eval digits --data broken/text.png', 'text.png'),
]


@pytest.mark.parametrize('line, named', MISTAKES, ids=[line for line, _ in MISTAKES])
def test_mistakes_get_one_sentence(line, named, tmp_path):
    (tmp_path/'empty').mkdir()
    (tmp_path/'broken').mkdir()
    (tmp_path/'broken'/'text.png').write_text('no picture')
    command, *args = line.split()
    code, out, err = run(tmp_path, command, *args)
    said = err.strip().splitlines()
    assert code == 2 and not out and named in said[-1] and 'Traceback' not in err, err
    assert len(said) == 1, err
    assert sorted(p.name for p in tmp_path.iterdir()) == ['broken', 'empty']


def test_a_run_is_not_overwritten(finished):
    path, _, _ = finished
    before = {p: p.stat().st_mtime_ns for p in path.rglob('*')}
    code, _, err = run(path.parent, 'autogan_search', *TINY, '--out', path)
    assert code == 2 and 'already holds a run' in err
    assert {p: p.stat().st_mtime_ns for p in path.rglob('*')} == before


@pytest.mark.parametrize('command', ['autogan_search', 'autogan_train', 'autogan_eval', 'autogan_sample', 'autogan_export', 'autogan_report', 'autogan_bench'])
def test_help(command, tmp_path):
    code, out, _ = run(tmp_path, command, '--help')
    assert code == 0 and f'usage: {command}' in out and ('--arch' in out or command in ('autogan_search', 'autogan_report', 'autogan_bench'))

"Test the commands as a user runs them: in processes of their own, with mistakes, and killed in the middle."
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from autogan_nb import __version__, cli
from autogan_nb.cli import find_arch
from autogan_nb.core import pick_device
from autogan_nb.data.images import digits
from autogan_nb.metrics.extractors import get_extractor
from autogan_nb.practice.presets import PRESETS, Preset, command_line, settings_from
from autogan_nb.practice.report import Report
from autogan_nb.practice.runs import file_name
from autogan_nb.search.derived_gan import generator_cost, load_generator
from autogan_nb.settings import TEXTS, settings_of, to_text
from autogan_nb.shell import help_text, read_options
from commands import one_sentence, run

BIN = Path(sys.executable).parent
TINY = ('--preset paper-digits --size 16 --iterations 2 --epochs .3 --controller_steps 2 --candidates 3 --top_k 2 --reward_images 50 '
        '--steps 60 --finalists 1 --eval_images 200 --device cpu --no-report').split()


def shell(cwd, command, *args, **env):
    "Run a command from its start, as a shell does; return exit code, standard output and standard error."
    done = subprocess.run([BIN/command, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300, env=os.environ | env)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    "Run a tiny job to its end; return its folder and what it printed."
    path = tmp_path_factory.mktemp('whole')/'run'
    code, out, err = shell(path.parent, 'autogan_search', *TINY, '--out', path)
    assert code == 0, err
    return path, out, err


def test_a_job_leaves_what_it_promises(finished):
    path, out, err = finished
    for name in ('config.json log.jsonl checkpoint.pt architectures.json scores.json generator.safetensors search.png samples/final.png '
                 'samples/search-8x8.png samples/search-16x16.png').split():
        assert (path/name).stat().st_size > 0, name
    assert any((path/'tensorboard').iterdir())
    for said in ('digit score', 'digit FID', 'random', 'real images', 'generator.safetensors'): assert said in out
    for said in ('search', '8x8', '16x16', 'reward', 'entropy'): assert said in err
    assert 'train 2 contenders' in err or 'train searched 1' in err          # side by side if there are enough cores
    records = [json.loads(line) for line in (path/'log.jsonl').read_text().splitlines()]
    assert [r['iteration'] for r in records if r['kind'] == 'search'] == [0, 1]


def test_quiet_is_quiet(finished, tmp_path):
    path, out, _ = finished
    code, again, err = run(path.parent, 'autogan_search', '--resume', path, '--quiet', '--no-report')
    assert (code, err) == (0, '')
    assert again == out          # a finished run only prints its results again
    new = dict(MPLCONFIGDIR=str(tmp_path/'matplotlib'), AUTOGAN_CACHE=str(tmp_path/'cache'))             # as on a new machine
    for line, last in (('sample', 'samples.png'), ('export digits digits.onnx', 'digits.onnx'), ('export digits digits.pt2', 'digits.pt2'),
                       (f'report {path} --out page.html', 'page.html'), ('eval digits --images 200', 'published weights')):
        code, out, err = run(tmp_path, *f'autogan_{line} -q'.split(), **new)
        assert (code, err) == (0, '') and out.endswith(f'{last}\n'), err
        assert out.count('\n') == 1 or 'eval' in line, out


def test_options_that_a_resume_does_not_heed_are_named(finished):
    path, out, _ = finished
    words = ['--resume', path, '--steps', 99, '--top-k', 1, '--no-report', '--device', 'cpu']
    code, again, err = run(path.parent, 'autogan_search', *words)
    assert (code, again) == (0, out) and err.startswith('autogan_search: warning: '), err
    assert err.endswith('continues with its own settings and ignores --top-k, --steps\n'), err


def config_of(path): return json.loads((path/'config.json').read_text())['config']
def records_of(path, kind): return [r for r in map(json.loads, (path/'log.jsonl').read_text().splitlines()) if r['kind'] == kind]


def test_a_finished_search_goes_on(finished, tmp_path):
    path = shutil.copytree(finished[0], tmp_path/'run')
    more = '--resume', path, '-q', '--no-report', '--device', 'cpu', '--iterations'
    one_sentence(run(tmp_path, 'autogan_search', *more, 2), '--iterations is 2', '2 already')
    code, out, err = run(tmp_path, 'autogan_search', *more, 3)
    assert (code, err) == (0, '') and out != finished[1], err
    assert [r['iteration'] for r in records_of(path, 'search')] == [0, 1, 2]
    assert records_of(path, 'continued') == [dict(kind='continued', iterations=[2, 3])]
    assert config_of(path)['history'] == [dict(iterations=[2, 3])] and config_of(path)['preset']['search']['iterations'] == 3
    assert run(tmp_path, 'autogan_search', *more[:-1]) == (0, out, '')                     # it knows the new number
    assert len(records_of(path, 'scores')) == 4                                         # two contenders, each trained anew
    assert '1 of 2 measured' not in Report(path)._repr_html_() and len(Report(path).measured) == 2


def write_digits(folder, n):
    "Write n digits of 16 pixels."
    folder.mkdir()
    for k, image in enumerate(digits(16).images[::70][:n].numpy()): Image.fromarray(image[0]).save(folder/f'{k:03}.png')


def test_a_training_goes_on_with_the_same_images_only(tmp_path):
    write_digits(tmp_path/'photos', 40)
    new, words = tmp_path/'photos'/'new.png', ['-q', '--no-report', '--device', 'cpu']
    first = ('pre-none-nearest-sc --recipe digits --data photos --channels 1 --extractor digits --eval-images 100 '
             '--set train.splits=2 --steps 3').split()
    assert run(tmp_path, 'autogan_train', *first, *words, '--out', 'run')[0] == 0
    assert config_of(tmp_path/'run')['images']['n'] == 40
    resume, before = ['--resume', 'run', '--steps', 5, *words], (tmp_path/'run'/'config.json').read_bytes()
    shutil.copy(tmp_path/'photos'/'000.png', new)
    one_sentence(run(tmp_path, 'autogan_train', *resume), 'photos holds 41 images', 'started with 40')
    os.replace(new, tmp_path/'photos'/'001.png')
    one_sentence(run(tmp_path, 'autogan_train', *resume), '40 images in', 'files have changed')
    one_sentence(run(tmp_path, 'autogan_train', *resume, '--data', 'nowhere'), 'nowhere')
    shutil.rmtree(tmp_path/'photos')
    write_digits(tmp_path/'moved', 40)
    one_sentence(run(tmp_path, 'autogan_train', *resume), 'photos does not exist', '--data')
    assert (tmp_path/'run'/'config.json').read_bytes() == before
    code, out, err = run(tmp_path, 'autogan_train', *resume, '--data', 'moved', '--workers', 0)
    assert code == 0 and '40 moved at 8x8' in out and 'ignores' not in err, err
    found = config_of(tmp_path/'run')
    assert found['history'] == [dict(data=[str(tmp_path/'photos'), str(tmp_path/'moved')], workers=[2, 0], steps=[3, 5])]
    assert (found['preset']['data'], found['preset']['train']['steps']) == (str(tmp_path/'moved'), 5)
    assert [r['step'] for r in records_of(tmp_path/'run', 'train')] == [1, 2, 3, 4, 5]
    assert [(r['step'], r['steps'], r['g_lr']) for r in records_of(tmp_path/'run', 'schedule')] == [(3, [3, 5], pytest.approx(4e-4))]


def test_a_training_starts_from_trained_networks(tmp_path):
    write_digits(tmp_path/'photos', 40)
    words = ['-q', '--no-report', '--device', 'cpu', '--eval-images', 100, '--set', 'train.splits=2']
    widths = ['--g-width', 12, '--d-width', 8]
    assert run(tmp_path, 'autogan_train', 'pre-batch-nearest-sc', *widths, '--steps', 3, *words, '--out', 'old')[0] == 0
    new = ['--from', 'old', '--data', 'photos', '--extractor', 'digits', '--steps', 2, *words]
    one_sentence(run(tmp_path, 'autogan_train', *new, '--channels', 3), 'channels is 3, but the networks of --from have 1')
    one_sentence(run(tmp_path, 'autogan_train', *new, '--bottom', 6), 'bottom is 6, but the networks of --from have 4')
    one_sentence(run(tmp_path, 'autogan_train', '--arch', 'B', *new), "--arch is 'B'", 'leave out --arch')
    code, out, err = run(tmp_path, 'autogan_train', *new, '--out', 'new')
    assert code == 0, err
    found = config_of(tmp_path/'new')
    assert found['arch'] == 'pre-batch-nearest-sc' and found['preset']['final_gan']['g_width'] == 12 and '--from old' in found['command']
    assert found['from'] == {name: str(tmp_path/'old'/file) for name, file in
                             dict(G='generator.safetensors', D='discriminators/trained.safetensors').items()}
    near, far = (weights_of(tmp_path/name/'generator.safetensors') for name in ('old', 'new'))
    assert all(torch.dist(near[name], far[name]) < .3*near[name].norm() + .1 for name in near if near[name].is_floating_point())
    shutil.rmtree(tmp_path/'old')
    assert run(tmp_path, 'autogan_train', '--resume', 'new', '--steps', 4, *words[:4])[0] == 0


def weights_of(path):
    with safe_open(path, 'pt') as file: return {name: file.get_tensor(name) for name in file.keys()}


def test_same_seed_same_result(finished, tmp_path):
    path, out, _ = finished
    code, again, _ = run(tmp_path, 'autogan_search', *TINY, '--out', 'run')
    assert code == 0
    assert (tmp_path/'run/log.jsonl').read_bytes() == (path/'log.jsonl').read_bytes()
    assert (tmp_path/'run/generator.safetensors').read_bytes() == (path/'generator.safetensors').read_bytes()


def killed(command, path, lines):
    "Run a command, kill it once its log has so many lines, resume it, kill it again, and so on; return how often that came in time."
    kills = 0
    for n in lines:
        process = subprocess.Popen(command, cwd=path.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = path/'log.jsonl'
        while process.poll() is None and not (log.exists() and log.read_bytes().count(b'\n') >= n): time.sleep(.01)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        command = [BIN/'autogan_search', '--resume', path, '--device', 'cpu', '--no-report']
    return kills


def test_killed_and_resumed_equals_uninterrupted(finished, tmp_path):
    whole, _, _ = finished
    path = tmp_path/'run'
    assert killed([BIN/'autogan_search', *TINY, '--out', path], path, (1, 3, 9)) == 3
    code, _, err = run(tmp_path, 'autogan_search', '--resume', path, '--device', 'cpu', '--no-report')
    assert code == 0, err
    for name in ('log.jsonl', 'generator.safetensors', 'scores.json', 'architectures.json'):
        assert (path/name).read_bytes() == (whole/name).read_bytes(), name


HALVED = ('--size 16 --g-width 8 --d-width 8 --steps 40 --eval-images 200 --reward-images 100 --candidates 4 --device cpu --no-report '
          '--rungs 1/15,1/8,1/4 --set final_gan.d_batch=8 --set final_gan.g_batch=8').split()


def test_candidates_in_rungs_killed_and_resumed(tmp_path):
    code, out, err = run(tmp_path, 'autogan_search', *HALVED, '--out', 'whole')
    assert code == 0 and 'rung 1 of 3' in err and 'the whole job takes about' in err and 'rungs' in err, err
    for said in ('digit FID of the candidates after 3, 5, 10 generator steps:', 'candidate 4 ',
                 'Generator steps: rungs 21, searched 1 30, random 40; 91 in all.'): assert said in out, (said, out)
    head = next(line for line in out.splitlines() if 'digit score' in line)
    assert head.index('digit FID') < head.index('digit score')                                      # FID first
    path = tmp_path/'run'
    assert killed([BIN/'autogan_search', *HALVED, '--out', path], path, (2, 5, 9, 14, 30)) >= 4
    code, again, err = run(tmp_path, 'autogan_search', '--resume', 'run', '--device', 'cpu', '--no-report', '-q')
    assert (code, err) == (0, '') and again == out.replace('whole', 'run')
    for name in ('log.jsonl', 'generator.safetensors', 'scores.json', 'architectures.json', 'budget.json'):
        assert (path/name).read_bytes() == (tmp_path/'whole'/name).read_bytes(), name
    assert not (path/'rungs').exists()
    most = generator_cost('pre-none-nearest-sc,pre-none-bilinear-sc-s0', 8, channels=1).macs         # the first cells of A
    assert all(row['more']['macs'] <= most for row in json.loads((path/'architectures.json').read_text()))
    code, _, err = run(tmp_path, 'autogan_search', '--resume', 'run', '--iterations', 20, '--device', 'cpu', '--no-report', '-q')
    assert code == 0 and 'ignores --iterations' in err


def test_finalists_of_a_shared_gan_climb_rungs(tmp_path):
    words = [*TINY, '--steps', 12, '--rungs', '3,1/2', '--top-k', 3, '--finalists', 1, '--g-width', 8]
    code, out, err = run(tmp_path, 'autogan_search', *words, '--out', 'run')
    assert code == 0 and 'digit score of the candidates after 3, 6 generator steps:' in out and 'Generator steps: shared GAN ' in out, err
    kinds = [r['kind'] for r in map(json.loads, (tmp_path/'run/log.jsonl').read_text().splitlines())]
    assert kinds.count('search') == 2 and kinds.count('rung') == 3 + 2 and kinds.count('cut') == 2
    assert '--rungs 3,1/2' in config_of(tmp_path/'run')['command']


def test_options_of_a_shared_gan_have_no_effect_without_one(tmp_path):
    words = [*HALVED, '--epochs', 1, '--top-k', 2, '--candidates', 2, '--steps', 4, '-q']
    code, _, err = run(tmp_path, 'autogan_search', *words, '--out', 'run')
    assert code == 0 and err.count('\n') == 1 and 'no effect of --epochs, --top-k' in err and '--preset paper-digits' in err


def test_costs_stand_beside_every_score(finished):
    path, out, _ = finished
    assert 'parameters   multiply-adds\n' in out
    scores, rows = (json.loads((path/name).read_text()) for name in ('scores.json', 'architectures.json'))
    for row in rows:
        G = load_generator(path/'generators'/f'{file_name(row["name"])}.safetensors')
        cost = dict(params=sum(p.numel() for p in G.parameters()), macs=generator_cost(**G.settings).macs)
        assert {key: row['more'][key] for key in cost} == {key: scores[row['name']]['more'][key] for key in cost} == cost
    assert 'more' not in scores['real images'] and 'macs' not in (path/'log.jsonl').read_text()


def test_a_search_within_limits_killed_and_resumed(tmp_path):
    most = 3_460_000
    words = [*TINY, '--strategy', 'pareto', '--max-macs', '3.46M', '--seed', 4]
    assert run(tmp_path, 'autogan_search', *words, '--out', 'whole')[0] == 0
    process = subprocess.Popen([BIN/'autogan_search', *map(str, words), '--out', 'run'], cwd=tmp_path, stderr=subprocess.DEVNULL)
    log = tmp_path/'run'/'log.jsonl'
    while process.poll() is None and not log.exists(): time.sleep(.01)
    process.kill()
    process.wait()
    code, _, err = run(tmp_path, 'autogan_search', '--resume', 'run', '--device', 'cpu', '--no-report')
    assert code == 0, err
    for name in ('log.jsonl', 'generator.safetensors', 'scores.json', 'architectures.json'):
        assert (tmp_path/'run'/name).read_bytes() == (tmp_path/'whole'/name).read_bytes(), name
    rows, state = json.loads((tmp_path/'run'/'architectures.json').read_text()), Report(tmp_path/'run').state
    assert {row['name'] for row in rows} == {'searched 1', 'random'} and all(row['more']['macs'] <= most for row in rows)
    kept = [arch for arch, _ in (*state['finalists'], *state['front'])]
    assert kept and all(generator_cost(arch, 24, channels=1).macs <= most for arch in kept)
    assert '--max-macs 3460000' in config_of(tmp_path/'run')['command']


def test_sample_eval_and_train_from_a_run(finished, tmp_path):
    path, _, _ = finished
    assert run(tmp_path, 'autogan_sample', path, '--out', 'grid.png')[0] == 0
    assert run(tmp_path, 'autogan_sample', path, '--out', 'many', '--n', 5)[0] == 0
    assert (tmp_path/'grid.png').exists() and len(list((tmp_path/'many').iterdir())) == 5
    code, out, _ = run(tmp_path, 'autogan_eval', path/'generator.safetensors', '--images', 200)
    assert code == 0 and 'generator' in out and 'real images' in out
    words = ['--arch', 'pre-none-nearest-sc', '--steps', 10, '--eval_images', 100, '--out', 'trained', '--no-report']
    code, out, _ = run(tmp_path, 'autogan_train', *words)
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
    assert [r for r in evals if r['best']][-1] == best
    with safe_open(tmp_path/'again/generator.safetensors', 'pt') as file: facts = json.loads(file.metadata()['autogan_nb'])
    assert facts['notes']['steps'] == best['step'] and facts['notes']['ema']
    selected = [row['arch'] for row in json.loads((path/'architectures.json').read_text()) if row['selected']]
    assert [facts['arch']] == selected


def test_images_are_measured_like_the_generator_that_drew_them(finished, tmp_path):
    path, _, _ = finished
    assert run(tmp_path, 'autogan_sample', path, '--out', 'many', '--n', 120)[0] == 0
    words = ['--data', 'digits', '--extractor', 'digits', '--metrics', 'all', '--kid-subset', 100, '--write-reference', 'real.npz']
    code, out, _ = run(tmp_path, 'autogan_eval', 'many', *words)
    assert code == 0, out
    assert all(word in out
               for word in ('images', 'real images', 'digit score', 'digit FID', 'digit KID', 'precision', 'recall', 'digit MIND')), out
    with np.load(tmp_path/'real.npz') as file: assert file['mu'].shape == (64,) and file['sigma'].shape == (64, 64)
    np.savez(tmp_path/'many.npz', images=np.stack([np.array(Image.open(f)) for f in sorted((tmp_path/'many').iterdir())]))
    by_file = [run(tmp_path, 'autogan_eval', source, '--data', 'real.npz', '--extractor', 'digits')[1].splitlines()[1]
               for source in ('many', 'many.npz')]
    assert by_file[0] == by_file[1] and by_file[0].split()[4] == out.splitlines()[1].split()[4]       # the same digit FID


def test_streamed_is_the_same_search(finished, tmp_path):
    whole, _, _ = finished
    code, _, err = run(tmp_path, 'autogan_search', *TINY, '--stream', '--out', 'run')
    assert code == 0, err
    assert (tmp_path/'run/log.jsonl').read_bytes() == (whole/'log.jsonl').read_bytes()
    assert json.loads((tmp_path/'run/config.json').read_text())['config']['preset']['stream'] is True


def test_random_strategy_learns_nothing(tmp_path):
    code, _, err = run(tmp_path, 'autogan_search', *TINY, '--strategy', 'random', '--top-k=1', '--out', 'run')   # with dashes
    assert code == 0, err
    entropies = [json.loads(line)['entropy'] for line in (tmp_path/'run/log.jsonl').read_text().splitlines() if '"search"' in line]
    assert np.allclose(entropies, np.log([36, 72]))


def test_a_search_among_widths(tmp_path):
    code, out, err = run(tmp_path, 'autogan_search', *TINY, '--space', 'wide', '--seed', 1, '--out', 'run')
    assert code == 0, err
    rows, log = json.loads((tmp_path/'run/architectures.json').read_text()), (tmp_path/'run/log.jsonl').read_text().splitlines()
    assert any(f'-{width}' in row['arch'] for row in rows for width in ('half', 'double')) and ' width' in out
    assert [len(json.loads(line)['choices']['W']) for line in log if '"search"' in line] == [3, 3]
    assert '--space wide' in json.loads((tmp_path/'run/config.json').read_text())['config']['command']
    again = '--steps 2 --eval_images 100 --device cpu --no-report --out again'.split()
    code, _, err = run(tmp_path, 'autogan_train', '--arch', 'run', *again)
    assert code == 0 and json.loads((tmp_path/'again/config.json').read_text())['config']['arch'] in [row['arch'] for row in rows], err


def test_a_folder_from_another_place_and_its_resume(tmp_path):
    (tmp_path/'photos').mkdir()
    for k, image in enumerate(digits(16).images[::50].numpy()): Image.fromarray(image[0]).save(tmp_path/'photos'/f'{k}.png')
    (tmp_path/'photos'/'broken.png').write_text('no picture')
    args = [*TINY, '--data', 'photos', '--channels', 1, '--extractor', 'digits', '--epochs', 1]
    code, _, err = run(tmp_path, 'autogan_search', *args, '--broken', 'refuse', '--out', 'run')
    assert code == 2 and 'broken.png' in err and not (tmp_path/'run').exists()
    code, out, err = run(tmp_path, 'autogan_search', *args, '--stream', '--out', 'run')
    assert code == 0 and 'autogan_search: warning: ' in err and 'broken.png' in err and '100 photos at 16x16' in out, err
    (tmp_path/'elsewhere').mkdir()
    wanted = out.replace('run/', '../run/').replace(' run', ' ../run')
    assert run(tmp_path/'elsewhere', 'autogan_search', '--resume', '../run', '-q', '--no-report')[:2] == (0, wanted)


@pytest.fixture(scope='module')
def garden(tmp_path_factory):
    "Make a folder of photos; return it, and a cache for the features that are learned from them."
    home = tmp_path_factory.mktemp('photos')
    write_photos(home/'garden', 30, 40)
    return home/'garden', home/'cache'


def test_photos_choose_their_channels_size_and_evaluator(garden, tmp_path):
    few = [*TINY, '--data', garden[0], '--no-report', '--device', 'cpu']
    few = [word for k, word in enumerate(few) if word != '--size' and few[k - 1] != '--size'] + ['--iterations', 3]
    code, out, err = run(tmp_path, 'autogan_search', *few, AUTOGAN_CACHE=str(garden[1]))
    assert code == 0, err
    chosen = [line for line in err.splitlines() if line.startswith(('garden:', 'channels', 'extractor'))]
    assert chosen[0] == 'garden: 30 images, 40x40 pixels, 100 % in colour' and chosen[1].startswith('channels 3 (colour), size 32')
    assert chosen[2].startswith('extractor own: features trained on these images')
    found = config_of(tmp_path/'runs'/'garden-seed0')
    assert [found['preset'][name] for name in ('channels', 'size', 'extractor')] == [3, 32, 'own'] and '--extractor own' in found['command']
    assert 'own FID' in out and 'digit' not in out


def write_photos(folder, n, size=16):
    "Write n small colour pictures."
    folder.mkdir()
    rng = np.random.default_rng(n)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((size, size), Image.BICUBIC).save(folder/f'{i}.png')


def test_own_features_in_training_and_evaluation(garden, tmp_path):
    arch = 'pre-none-nearest-sc,pre-none-nearest-sc,pre-none-nearest-sc'
    words = ['--arch', arch, '--data', garden[0], '--channels', 3, '--extractor', 'own', '--steps', 2, '--eval_images', 60]
    code, out, err = run(tmp_path, 'autogan_train', *words, '--out', 'run', '-q', '--no-report', AUTOGAN_CACHE=str(garden[1]))
    assert code == 0, err
    assert 'own score' in out and 'own FID' in out and "the network is 'own'" in out and 'digit' not in out
    weights = {file.name: load_file(file) for file in (garden[1]/'features').iterdir()}
    tables = []
    for cache in (garden[1], tmp_path/'other'):              # from the cache, and trained again: the same features, the same figures
        code, out, err = run(tmp_path, 'autogan_eval', 'run', '--images', 60, '-q', AUTOGAN_CACHE=str(cache))
        assert code == 0, err
        tables.append(out)
    assert tables[0] == tables[1] and 'own FID' in out
    (name, first), = weights.items()
    second = load_file(tmp_path/'other/features'/name)
    assert first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)
    saved = json.loads((tmp_path/'run/scores.json').read_text())['real images']
    assert saved['extractor'] == 'own' and float(out.splitlines()[2].split()[5]) == pytest.approx(saved['fid'], abs=.006)


@pytest.mark.parametrize('n', [1, 5, 20])
def test_few_images_are_measured_as_far_as_possible(n, tmp_path):
    write_photos(tmp_path/'few', n)
    write_photos(tmp_path/'photos', 30)
    words = ['--data', 'photos', '--extractor', 'digits', '--metrics', 'all', '-q']
    code, out, err = run(tmp_path, 'autogan_eval', 'few', *words)
    assert code == 0, err
    notes = [line for line in out.splitlines() if line.startswith('Note: ')]
    left_out = ['fid', 'kid', 'pr', 'mind'] if n == 1 else []
    assert [note.split()[1] for note in notes if 'was left out' in note] == left_out and notes, out
    assert (out.splitlines()[1].split()[4] == '-') == (n == 1)
    for said in (out, err): assert "the network 'digits' has learned other images than 'photos'" in said
    assert 'Traceback' not in err
    if n == 1:
        code, out, err = run(tmp_path, 'autogan_eval', 'few', *words[:-2], 'fid', '-q')
        assert code == 2 and "'fid' can't be measured" in err and '--metrics all' in err


def test_statistics_allow_some_metrics_only(tmp_path):
    assert run(tmp_path, 'autogan_eval', 'digits', '--images', 100, '--write-reference', 'real.npz')[0] == 0
    words = ['autogan_eval', 'digits', '--images', 100, '--data', 'real.npz']
    code, out, err = run(tmp_path, *words, '--metrics', 'all')
    assert code == 0 and out.count('Note: ') == 3 and 'kid was left out: it compares single images' in out and 'digit FID' in out, err
    code, out, err = run(tmp_path, *words, '--metrics', 'kid')
    assert code == 2 and 'give the real images (--data)' in err
    code, out, err = run(tmp_path, *words, '--extractor', 'own')
    assert code == 2 and 'own features are learned from images: give the real images (--data), not' in err


def test_digits_come_with_the_package(tmp_path):
    assert shell(tmp_path, 'autogan_sample')[:2] == (0, 'samples.png\n')
    code, out, _ = run(tmp_path, 'autogan_eval', 'digits')
    name, score, _, _, fid, *cost = out.splitlines()[1].split()
    assert cost == ['108,217', '19.3', 'M'] and out.splitlines()[2].split()[-2:] == ['-', '-']         # real images cost nothing
    assert code == 0 and name == 'generator' and float(score) > 6 and float(fid) < 5
    for form in ('onnx', 'pt2'): assert run(tmp_path, 'autogan_export', 'digits', f'digits.{form}')[:2] == (0, f'digits.{form}\n')
    assert (tmp_path/'digits.onnx').stat().st_size < 1e6


def test_samples_of_any_kind_are_the_generators_own_images(tmp_path):
    for words in (['--out', 'many'], ['--npz', 'many.npz']):                             # seed: the evaluator's latents
        assert run(tmp_path, 'autogan_sample', '-q', '--n', 300, '--seed', 1_000_003, *words)[::2] == (0, '')
    single = np.stack([np.array(Image.open(file)) for file in sorted((tmp_path/'many').iterdir())])
    with np.load(tmp_path/'many.npz') as file: assert single.shape == (300, 32, 32) and (file['arr_0'][..., 0] == single).all()
    rows = [run(tmp_path, 'autogan_eval', source, '--data', 'digits', '--extractor', 'digits', '-q', *more)[1].splitlines()[1].split()
            for source, more in (('digits', ['--images', 300]), ('many', []), ('many.npz', []))]
    fids = [float(row[4]) for row in rows]                                              # files hold whole grey levels
    assert fids[1] == fids[2] == pytest.approx(fids[0], abs=.02), rows
    for seeds in ('7', '3-9'): assert run(tmp_path, 'autogan_sample', '-q', '--seeds', seeds, '--out', f's{seeds}')[0] == 0
    assert (tmp_path/'s7/seed0007.png').read_bytes() == (tmp_path/'s3-9/seed0007.png').read_bytes()
    assert run(tmp_path, 'autogan_sample', '-q', '--video', 'walk.gif', '--n', 2)[:2] == (0, 'walk.gif\n')
    with Image.open(tmp_path/'walk.gif') as film: assert film.n_frames == 125 and film.info['loop'] == 0


def test_a_real_ffmpeg_writes_an_mp4(tmp_path):
    ffmpeg = pytest.importorskip('imageio_ffmpeg')
    assert run(tmp_path, 'autogan_sample', '-q', '--video', 'walk.mp4', '--n', 3)[:2] == (0, 'walk.mp4\n')
    assert ffmpeg.count_frames_and_secs(str(tmp_path/'walk.mp4')) == (125, 5.)


MISTAKES = [
    ('autogan_search --max-macs 1k', '--max-macs is 1,000, but the cheapest architecture has'),
    ('autogan_search --size 16 --max-params 50', '--max-params is 50, but the cheapest architecture has'),
    ('autogan_search --max-macs 12m', "--max-macs is '12m', expected a whole number"),
    ('autogan_search --max-params=-1', 'search.max_params is -1, expected a limit'),
    ('autogan_search --data mnits', 'mnits'),
    ('autogan_search --preset digit', "unknown preset 'digit'"),
    ('autogan_search --size 33', '33'),
    ('autogan_search --preset paper-digits --candidates 2 --top_k 5', 'K = 5'),
    ('autogan_search --grow_after 8,4', '(8, 4)'),
    ('autogan_search --grow_after soon', "'soon'"),
    ('autogan_search --grow_after 4', '--grow-after is (4,), which leads to 16 pixels, not 32'),
    ('autogan_search --size 128 --iterations 1', '128 pixels need at least 5 --iterations, not 1'),
    ('autogan_search --finalists 9', '9 --finalists'),
    ('autogan_search --preset paper-digits --finalists 9', '9 --finalists'),
    ('autogan_search --preset paper-digits --candidates 50', '--candidates is 50, but the first cell has only 36 variants'),
    ('autogan_search --bottom 6', 'a --bottom of 6 doubles to 12, 24, 48, ...'),
    ('autogan_search --set search.controller_batch=0', 'search.controller_batch is 0'),
    ('autogan_search --set search_gan.g_width=0', 'search_gan.g_width is 0'),
    ('autogan_search --eval-images 5', 'lower train.splits (--set) or raise --eval-images'),
    ('autogan_search --data empty --channels 1', 'empty'),
    ('autogan_search --data broken --channels 1', 'text.png'),
    ('autogan_search --device tpu', 'tpu'),
    ('autogan_search --extractor vgg', 'vgg'),
    ('autogan_search --resume empty', 'empty'),
    ('autogan_train --arch pre-none-nearest-scc', 'scc'),
    ('autogan_train --arch 1,0,1', 'got 3'),
    ('autogan_train --arch 1,0,1,7', '7'),
    ('autogan_train --loss hing', "'hing'"),
    ('autogan_search --hours 0 -q', '--hours is 0, but even a hundredth of this job takes'),
    ('autogan_search --set search_gan.techniques=balance', 'balance is for a final training'),
    ('autogan_search --strategy anneal', "'anneal'"),
    ('autogan_search --space wider', "'wide'"),
    ('autogan_search --estimation guess', "estimation is 'guess', expected shared or halving"),
    ('autogan_search --estimation halving --preset paper-digits', '--rungs is empty'),
    ('autogan_search --rungs 100,soon', "rungs has 'soon', expected steps such as 100"),
    ('autogan_search --rungs 100,50', '--rungs is (100, 50), expected ascending'),
    ('autogan_search --rungs 5000', 'has 5000, expected a step up to the last one, 4,000'),
    ('autogan_search --set search.keep=1', 'search.keep is 1'),
    ('autogan_search --set search.macs_of_a=0.01', 'raise the limit'),
    ('autogan_search --candidates 1 --finalists 2', '2 --finalists, but the --candidates are only 1'),
    ('autogan_search --space wide --set final_gan.g_layers=r3', 'r3 needs cells of full width'),
    ('autogan_train --arch pre-none-nearest-half-double', 'a cell has one width, got half and double'),
    ('autogan_search --recipe weak', "'weak'"),
    ('autogan_search --preset paper-digits --top-k 5 --candidates 2', 'K = 5'),
    ('autogan_train nowhere', 'nowhere'),
    ('autogan_train --from nowhere', 'nowhere'),
    ('autogan_train --from broken/text.png', 'text.png'),
    ('autogan_train --eval-every -1', 'train.eval_every is -1, expected 0 or a number of steps (--eval-every)'),
    ('autogan_sample nowhere', 'nowhere'),
    ('autogan_sample digits --arch A', '--arch'),
    ('autogan_sample --out x --npz x.npz', '--out and --npz are given'),
    ('autogan_sample --npz x.png', "--npz is 'x.png'"),
    ('autogan_sample --npz x.npz --zoom 2', "zoom is 2, but an .npz file holds images of the generator's own size"),
    ('autogan_sample --video x.avi', 'expected a name that ends in .gif or .mp4'),
    ('autogan_sample --seeds 9-3', "seeds are '9-3'"),
    ('autogan_sample --seeds 0-9 --n 5', 'leave out --n and --seed'),
    ('autogan_sample --truncation 0', 'truncation is 0, expected a number above 0'),
    ('autogan_sample broken/text.png', 'text.png'),
    ('autogan_export digits digits.exe', 'digits.exe'),
    ('autogan_search --execution graphs --device cpu', 'graphs'),
    ('autogan_train A --precision fp16', 'fp16'),
    ('autogan_bench --preset digit', 'digit'),
    ('autogan_eval broken/text.png', 'text.png'),
    ('autogan_eval empty --extractor digits', 'empty'),
    ('autogan_eval digits --metrics psnr', "'psnr'"),
    ('autogan_eval digits --size 64', 'leave out --size'),
    ('autogan_sample --n 0', '--n is 0'),
    ('autogan_sample --out grid.jpg', '--out'),
    ('autogan_report empty --out page.pdf', 'empty'),
    ('autogan_eval digits --images 1', "'fid' can't be measured: 1 image of at least 2"),
    ('autogan_eval digits --data broken/text.png', 'text.png'),
    ('autogan_search --set search.controler_lr=1e-3', "unknown setting 'search.controler_lr': did you mean 'search.controller_lr'?"),
    ('autogan_search --itertions 3', "unknown option '--itertions': did you mean '--iterations'?"),
    ('autogan_search digits twice', "unexpected argument 'twice'"),
    ('autogan_search --config broken/text.png', 'text.png cannot be read as JSON'),
    ('autogan_eval', 'SOURCE is missing'),
]


def test_a_mistake_is_one_sentence_from_the_very_start(tmp_path):
    assert shell(tmp_path, 'autogan_train', '--loss', 'hing')[::2] == (2, "autogan_train: unknown loss 'hing': did you mean 'hinge'?\n")


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
    assert code == 2 and err == f'autogan_search: {path} already holds a run: continue it with --resume={path}, or choose another --out\n'
    assert {p: p.stat().st_mtime_ns for p in path.rglob('*')} == before


COMMANDS = ['autogan_search', 'autogan_train', 'autogan_eval', 'autogan_sample', 'autogan_export', 'autogan_report', 'autogan_bench']


@pytest.mark.parametrize('command', COMMANDS)
def test_help(command, tmp_path):
    code, out, err = run(tmp_path, command, '--help')
    assert (code, err) == (0, '') and f'usage: {command}' in out
    assert '--arch' in out or command in ('autogan_search', 'autogan_report', 'autogan_bench')


ANSWERED = """
import sys
from autogan_nb import cli
for word in sys.argv[2:]:
    try: getattr(cli, sys.argv[1]).shell([word])
    except SystemExit as stop: assert stop.code == 2
print([name for name in ('torch', 'numpy', 'matplotlib', 'fastcore', 'huggingface_hub') if name in sys.modules])
"""


@pytest.mark.parametrize('command', COMMANDS)
def test_help_version_and_a_mistyped_option_need_no_torch(command):
    words = ['--help', '--version', '--optoin=1', *['--help-all'] * (command in COMMANDS[:2])]
    done = subprocess.run([sys.executable, '-c', ANSWERED, command, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == '[]' and f'autogan_nb {__version__}' in lines and '--quiet' in done.stdout and '--version' in done.stdout
    assert "unknown option '--optoin'" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize('line', ['autogan_search --help-all', 'autogan_search --version', 'autogan_sample -q',
                                  'autogan_search --optoin 2>&1', 'autogan_eval digits --images 200 2>&1'])
def test_a_reader_that_stops_reading_causes_no_traceback(line, tmp_path):
    script = f'{BIN}/{line} | true; echo ${{PIPESTATUS[0]}}'             # `true` reads nothing
    done = subprocess.run(['bash', '-c', script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.stdout.splitlines()[-1], 'Traceback' in done.stderr, 'Errno' in done.stderr) == ('141', False, False), done.stderr


def test_without_an_output_a_command_works_all_the_same(tmp_path):
    done = subprocess.run(['bash', '-c', f'{BIN}/autogan_sample -q >&-'], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, '') and (tmp_path/'samples.png').exists()


def test_long_values_are_not_repeated_whole(tmp_path):
    long = 'x' * 4000
    for line in (f'autogan_search --loss {long}', f'autogan_search --strategy {long}', f'autogan_search --precision {long}',
                 f'autogan_search --execution {long}', f'autogan_search digits {long}', f'autogan_search --steps {long}',
                 f'autogan_search --preset {long}', f'autogan_search --{long}', f'autogan_search --set {long}',
                 f'autogan_search --set {long}=1',
                 f'autogan_search --set final_gan.terms={long}'):
        with pytest.raises(ValueError) as refused: words_to_settings(line)
        assert len(str(refused.value)) < 300, line[:40]
    for look_up in (get_extractor, pick_device):
        with pytest.raises(ValueError) as refused: look_up(long)
        assert len(str(refused.value)) < 300
    code, out, err = run(tmp_path, 'autogan_sample', long)                # the system's own message repeats it
    assert (code, out, len(err) < 400) == (2, '', True), err


# Options are made from the fields of the dataclasses. These tests need no processes of their own.

def words_to_settings(line):
    command, *words = shlex.split(line)
    options = read_options(getattr(cli, command), words)
    return options, settings_from(options, find_arch(options.arch).size if command == 'autogan_train' else None)


MISREAD = [
    ('autogan_search --set controller_lr=1e-3', "unknown setting 'controller_lr': did you mean 'search.controller_lr'?"),
    ('autogan_search --set search.controller_lr=fast', "search.controller_lr is 'fast', expected a number"),
    ('autogan_search --set stream=perhaps', "stream is 'perhaps', expected true or false"),
    ('autogan_search --set train.steps', 'expected NAME=VALUE'),
    ('autogan_search --set search.grow_after=8,4', '(8, 4)'),
    ('autogan_search --steps many', "--steps is 'many', expected a whole number"),
    ('autogan_search --epochs nan', "--epochs is nan, expected a number"),
    ('autogan_search --controller-lr 3', "unknown option '--controller-lr': did you mean '--set search.controller_lr=VALUE'?"),
    ('autogan_search --steps', '--steps: expected one argument'),
    ('autogan_search --config nowhere.json', 'nowhere.json'),
    ('autogan_train A --set size=16', 'the size follows from the architecture'),
    ('autogan_train A --size 16', 'there is no --size: the size follows from the architecture'),
    ('autogan_train A --iterations 5', "unknown option '--iterations': did you mean '--set search.iterations=VALUE'?"),
    ('autogan_export digits', 'OUT is missing'),
    ('autogan_sample --size 3', "unknown option '--size'"),
]


@pytest.mark.parametrize('line, named', MISREAD, ids=[line for line, _ in MISREAD])
def test_words_that_are_no_settings(line, named):
    with pytest.raises((ValueError, OSError)) as refused: words_to_settings(line)
    assert named in str(refused.value) and '\n' not in str(refused.value)


def test_help_has_groups_and_the_defaults_of_the_preset():
    text = help_text(cli.autogan_search, ['--help'])
    heads = [line[:-1] for line in text.splitlines() if line and line[0] != ' ' and line.endswith(':')]
    assert heads == ['data', 'search', 'training', 'measuring', 'running']
    def shown(text, option): return ' '.join(text[text.index(f'  {option} '):].split('\n\n')[0].split('\n  -')[0].split())
    defaults = dict(steps=4000, iterations=12, grow_after='4,8', seed=0, eval_images=5000, precision='float32', extractor='digits')
    for option, default in defaults.items():
        assert shown(text, '--' + option.replace('_', '-')).endswith(f'(default: {default})'), option
    paper = help_text(cli.autogan_search, ['paper-cifar10', '--recipe', 'strong', '--help'])
    assert '(default: 25,55)' in shown(paper, '--grow-after') and '(default: 195500)' in shown(paper, '--steps')
    assert 'search.controller_lr' not in text.replace('--set', '').replace('such as search.controller_lr=1e-3', '')
    assert not {'--size', '--iterations', '--finalists'} & set(help_text(cli.autogan_train, []).split())


@pytest.mark.parametrize('preset', PRESETS)
def test_help_all_has_every_field_with_its_default(preset):
    text, preset_, known = help_text(cli.autogan_search, [preset, '--help-all']), PRESETS[preset], settings_of(PRESETS[preset])
    lines = {line.split('=')[0].strip(): line for line in text.split('every setting, for')[1].splitlines()[1:]}
    parts = [(name + '.', getattr(preset_, name)) for name in ('search', 'search_gan', 'final_gan', 'train', 'engine')]
    names = {head + f.name for head, part in [('', preset_), *parts] for f in fields(part)} - {head[:-1] for head, _ in parts}
    assert lines.keys() == known.keys() == names
    for name, line in lines.items(): assert f'{name}={to_text(known[name].default)} ' in line and line.rstrip().endswith(known[name].help)


def test_a_training_has_no_use_for_the_space_of_a_search(tmp_path):
    words = '--arch R3 --recipe r3gan --steps 1 --eval-images 100 --device cpu --no-report -q --out run'.split()     # no cell of half width
    assert run(tmp_path, 'autogan_train', *words)[0] == 0
    config = config_of(tmp_path/'run')
    assert config['preset']['search']['space'] == 'autogan' and 'search.' not in config['command']
    assert run(tmp_path, 'autogan_train', '--resume', 'run', '--steps', 2, '--device', 'cpu', '--no-report', '-q')[0] == 0


def test_every_setting_can_be_set():
    other = {int: lambda v: v + 1, float: lambda v: v / 2 + .1, bool: lambda v: not v, tuple: lambda v: (30, 60)}
    names = dict(data='stl10', root='/', broken='refuse', fit='pad', extractor='digits', conditional='projection') | {
        'search.space': 'wide', 'search.strategy': 'random', 'search.objective': 'fid', 'search.sampling': 'fair',
        'search.reset_statistic': 'variance',
        'search_gan.loss': 'wasserstein', 'final_gan.loss': 'wasserstein', 'engine.precision': 'bf16', 'engine.execution': 'compile'}
    tied = 'size', 'search_gan.bottom', 'final_gan.bottom', 'channels', 'model', 'search.estimation'    # with others that depend on them
    refused = 'search_gan.n_classes', 'final_gan.n_classes'                             # the commands' networks take no labels
    for name, setting in settings_of(Preset()).items():
        if name in tied + refused or setting.kind == TEXTS: continue
        value = names[name] if setting.kind is str else other[setting.kind](setting.default)
        if name == 'train.finalists': value = 3
        if name in ('search.max_macs', 'search.max_params'): value = 10**12             # 1 is less than any generator costs
        if name == 'search.macs_of_a': value = 2.
        line = f'autogan_search paper-cifar10 --set {name}={to_text(value)}'
        changed = {n for n, s in settings_of(words_to_settings(line)[1]).items() if s.default != settings_of(Preset())[n].default}
        assert changed == {name, *(['search.grow_after'] if name == 'search.iterations' else [])}, line
        assert settings_of(words_to_settings(line)[1])[name].default == value


LINES = ['autogan_search', 'autogan_search paper-cifar10 --seed 3 --device cpu', 'autogan_search --size 16 --grow-after 3',
         'autogan_search --iterations 12 --set search.grow_after=2,5', 'autogan_search --stream --workers 4 --set stream=false',
         'autogan_search --loss wasserstein --set search_gan.loss=hinge', 'autogan_search --bottom 8 --size 64',
         'autogan_search --recipe strong --set engine.precision=bf16 --set search_gan.d_batch=16 --set final_gan.beta1=.5',
         'autogan_search --config few.json --top-k 2 --eval-every 0', 'autogan_train B --steps 10 --loss hinge', 'autogan_train --bottom 6',
         'autogan_train A --preset paper-cifar10 --config few.json --set search.hidden=10',
         'autogan_train pre-none-nearest-sc --config few.json']


@pytest.mark.parametrize('line', LINES)
def test_the_recorded_command_makes_the_same_settings(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = dict(search=dict(iterations=6, controller_lr=.01), train=dict(eval_every=5, finalists=1), search_gan=dict(d_lr=1e-4))
    Path('few.json').write_text(json.dumps(few))
    options, settings = words_to_settings(line)
    recorded = command_line(line.split()[0], options, settings)
    Path('few.json').unlink()
    again, same = words_to_settings(recorded)
    assert same == settings and '--config' not in recorded
    assert (again.seed, again.device, getattr(again, 'arch', None)) == (options.seed, options.device, getattr(options, 'arch', None))


def test_order_of_precedence(tmp_path):
    file = tmp_path/'few.json'
    file.write_text(json.dumps(dict(train=dict(steps=300, splits=5))))
    steps = [words_to_settings(f'autogan_search {words}')[1].train.steps for words in
             ('', '--recipe paper', f'--recipe paper --config {file}', f'--steps 200 --recipe paper --config {file}',
              f'--set train.steps=100 --steps 200 --recipe paper --config {file}')]
    assert steps == [4000, 50_000, 300, 200, 100]


def test_config_files(finished, tmp_path):
    path, _, _ = finished
    few = dict(size=16, search=dict(iterations=2, controller_lr=.001), engine=dict(precision='tf32'))
    (tmp_path/'few.json').write_text(json.dumps(few))
    (tmp_path/'few.toml').write_text('size = 16\nengine.precision = "tf32"\n[search]\niterations = 2\ncontroller_lr = 1e-3\n')
    json_, toml = (words_to_settings(f'autogan_search --config {tmp_path}/few.{form}')[1] for form in ('json', 'toml'))
    assert json_ == toml and (json_.size, json_.engine.precision) == (16, 'tf32')
    assert (json_.search.iterations, json_.search.controller_lr, json_.search.grow_after) == (2, .001, (1,))
    whole = words_to_settings(f'autogan_search --config {path}/config.json')[1]
    assert json.loads(json.dumps(asdict(whole))) == json.loads((path/'config.json').read_text())['config']['preset']
    (tmp_path/'preset.json').write_text(json.dumps(asdict(whole)))
    assert words_to_settings(f'autogan_search --config {tmp_path}/preset.json')[1] == whole
    for content, said in ((dict(search=dict(controler_lr=1)), "did you mean 'search.controller_lr'?"),
                          (dict(train=dict(steps='many')), "train.steps is 'many', expected a whole number"),
                          (dict(train=dict(steps=1.5)), 'train.steps is 1.5'), (dict(search=3), 'search is 3, expected settings by name'),
                          ([1], 'expected settings by name')):
        (tmp_path/'few.json').write_text(json.dumps(content))
        code, out, err = run(tmp_path, 'autogan_search', '--config', 'few.json', '--out', 'run')
        assert (code, out, len(err.splitlines())) == (2, '', 1) and said in err and not (tmp_path/'run').exists(), err


def test_a_file_and_single_settings_make_the_same_run(finished, tmp_path):
    path, _, _ = finished
    words = ['--preset', 'paper-digits', '--config', path/'config.json', '--set', 'train.steps=60', '--device', 'cpu', '--out', 'run']
    words += ['--no-report', '-q']
    code, _, err = run(tmp_path, 'autogan_search', *words)
    assert code == 0, err
    assert (tmp_path/'run/log.jsonl').read_bytes() == (path/'log.jsonl').read_bytes()
    first, second = (json.loads((folder/'config.json').read_text())['config'] for folder in (path, tmp_path/'run'))
    assert first == second and '--epochs 0.3' in second['command']


@pytest.mark.parametrize('missing', ['papermill', 'ipykernel'])
def test_without_the_packages_of_the_report(missing, finished, tmp_path):
    path, out, _ = finished
    (tmp_path/'blocked'/missing).mkdir(parents=True)
    (tmp_path/'blocked'/missing/'__init__.py').write_text(f'raise ModuleNotFoundError("No module named {missing!r}", name={missing!r})')
    code, again, err = shell(path.parent, 'autogan_search', '--resume', path, '-q', '--device', 'cpu', PYTHONPATH=str(tmp_path/'blocked'))
    assert (code, again) == (0, out)
    advice = f'the page needs {missing}: pip install {missing}, then autogan_report {path}'
    assert err == f'autogan_search: warning: no report was written, {advice}\n'
    code, again, err = shell(path.parent, 'autogan_report', path, PYTHONPATH=str(tmp_path/'blocked'))
    assert (code, again, err) == (2, '', f'autogan_report: the page needs {missing}: pip install {missing}\n')


def test_heavy_parts_are_imported_where_they_are_used():
    parts = ['papermill', 'nbconvert', 'ipykernel', 'autogan_nb.practice.report', 'autogan_nb.practice.sharing', 'autogan_nb.bench.bench',
             'mlxtend', 'torch_fidelity', 'tensorboard']
    script = f'import sys, autogan_nb.cli; print([name for name in {parts} if name in sys.modules])'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'

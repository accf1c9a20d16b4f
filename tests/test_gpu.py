"Test .ci/gpu: with tiny sizes on a CPU it takes every path that it takes on a card."
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from autogan_nb.bench.gpu import SCALES, STAGES, Stage, run_stages

ROOT = Path(__file__).resolve().parent.parent
FACTS = {'card', 'device', 'torch', 'cuda', 'python', 'commit', 'sources', 'date', 'seconds', 'scale'}


def gpu(*words, **env):
    "Run .ci/gpu without a card; return exit code, output and errors."
    env = os.environ | dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1') | env
    done = subprocess.run([sys.executable, ROOT/'.ci/gpu', *map(str, words)], capture_output=True, text=True, env=env)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "Run all stages once, from a copy of the tracked files alone, as on a lent machine; return folder, exit code, output and errors."
    there, out = tmp_path_factory.mktemp('repo'), tmp_path_factory.mktemp('out')
    shutil.copytree(ROOT/'autogan_nb', there/'autogan_nb', ignore=shutil.ignore_patterns('__pycache__'))
    (there/'.ci').mkdir()
    shutil.copy(ROOT/'.ci/gpu', there/'.ci/gpu')
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1')
    words = [sys.executable, there/'.ci/gpu', '--out', out, '--tiny', '--commit', 'abc']
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=there)
    return out, done.returncode, done.stdout, done.stderr


def test_every_stage_runs(tiny):
    out, code, text, errors = tiny
    record = json.loads((out/'gpu-tiny.json').read_text())
    problems = {name: (found['errors'], found['left_out']) for name, found in record['stages'].items()}
    assert (code, problems) == (0, {name: ([], []) for name in STAGES}), text + errors
    assert sorted(p.name for p in out.iterdir()) == sorted(['gpu-tiny.json', *(f'{name}.json' for name in STAGES)])
    assert FACTS <= set(record['about']) and record['about']['commit'] == 'abc'


def test_every_figure_has_a_unit_and_its_goal(tiny):
    record = json.loads((tiny[0]/'gpu-tiny.json').read_text())
    figures = [f for found in record['stages'].values() for f in found['figures']]
    assert all({'what', 'value', 'unit'} <= set(f) and f['value'] is not None for f in figures)
    assert all(('met' in f) == ('at_most' in f or 'at_least' in f) for f in figures)
    goals = [f['at_most'] for f in figures if f['unit'] in ('min', 's') and 'at_most' in f]
    assert sorted(goals) == [15, 15, 30, 60]                    # two engines train
    assert 2 in [f.get('at_least') for f in record['stages']['metrics']['figures']]
    assert all(f['met'] for name in ('checks', 'recovery') for f in record['stages'][name]['figures'] if 'met' in f)


def test_plans_exist_and_fit_into_eight_minutes():
    assert all(callable(pkgutil.resolve_name(stage.plan)) for stage in STAGES.values())
    assert sum(stage.seconds for stage in STAGES.values()) <= 470
    assert len(STAGES) <= 6                                     # with the summary and a log, eight files may come back


def test_no_tiny_run_is_committed():
    for path in ROOT.glob('nbs/results/gpu-*.json'): assert json.loads(path.read_text())['about']['scale'] == 'full', path


def test_a_stage_that_dies_or_hangs_does_not_stop_the_next(tmp_path, monkeypatch):
    (tmp_path/'mine.py').write_text("""import os, time
from autogan_nb.bench.gpu import figure
one = ('one', lambda left: [figure('one', 1, 's')])
def dies(setting): return [one, ('dies', lambda left: os._exit(3))]
def hangs(setting): return [one, ('hangs', lambda left: time.sleep(3600))]
def works(setting): return [one]
""")
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), str(ROOT)]))
    stages = {name: Stage(4 if name == 'hangs' else 60, f'mine:{name}') for name in ('dies', 'hangs', 'works')}        # times the patience
    record = json.loads(run_stages(tmp_path/'out', stages, 'cpu', 'tiny', commit='abc', say=lambda line: None).read_text())
    errors = {name: [e['error'] for e in found['errors']] for name, found in record['stages'].items()}
    assert errors == dict(dies=['it ended with exit code 3'], hangs=['the measurement that ran took too long, and was ended'], works=[])
    assert [len(found['figures']) for found in record['stages'].values()] == [1, 1, 1]


@pytest.mark.parametrize('words, sentence', [
    ([], 'PyTorch sees no CUDA device here; --tiny tries every stage on the CPU'),
    (['--tiny', '--only', 'steps,speed'], "there is no stage 'speed', expected any of checks, recovery, steps, training, metrics, search"),
    (['--tiny', '--only', 'steps', '--skip', 'steps'], '--only and --skip leave no stage to run'),
    (['--tiny', '--fashion', '/dev'], '--fashion /dev holds no train-images-idx3-ubyte.gz'),
    (['--tiny', '--wheels', '/dev/null'], '--wheels /dev/null is no folder'),
])
def test_a_wrong_option_is_one_sentence(words, sentence, tmp_path):
    code, out, errors = gpu('--out', tmp_path, *words)
    assert (code, out) == (2, '') and errors.splitlines()[-1] == f'.ci/gpu: error: {sentence}'


def test_missing_wheels_are_installed_for_the_stages_alone(tmp_path):
    name, metadata = 'nowhere_else-1.0', 'Metadata-Version: 2.1\nName: nowhere-else\nVersion: 1.0\n'
    with zipfile.ZipFile(tmp_path/f'{name}-py3-none-any.whl', 'w') as wheel:
        wheel.writestr('nowhere_else.py', 'def plan(setting): return []')
        wheel.writestr(f'{name}.dist-info/METADATA', metadata)
        wheel.writestr(f'{name}.dist-info/WHEEL', 'Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        wheel.writestr(f'{name}.dist-info/RECORD', '')
    code = ('import runpy, sys, tempfile, pathlib; script = runpy.run_path(sys.argv[1]); '
            'found = script["missing"](pathlib.Path(sys.argv[2])); target = tempfile.mkdtemp(); '
            'script["make_importable"](found, target); import nowhere_else, os; '
            'print(len(found), target in os.environ["PYTHONPATH"])')
    done = subprocess.run([sys.executable, '-c', code, ROOT/'.ci/gpu', tmp_path], capture_output=True, text=True)
    assert done.stdout == '1 True\n', done.stderr


def test_the_one_command_of_the_notebook_works():
    text = (ROOT/'nbs/bench/115_gpu.ipynb').read_text(encoding='utf-8')
    options = set(re.findall(r'(--[a-z]+)', ' '.join(re.findall(r'python3? \.ci/gpu[^`"\\]*', text))))
    known = set(re.findall(r'--[a-z]+', gpu('--help')[1]))
    assert {'--out', '--tiny', '--wheels', '--fashion', '--commit'} <= options <= known
    assert set(SCALES) == {'full', 'tiny'}

"""Test on a graphics card what the other tests test on a CPU; skipped where there is no card.

`AUTOGAN_TEST_DEVICE=cpu pytest tests/test_cuda.py` tries the tests themselves on a CPU.
Where there is no Jupyter: `python -m pytest tests/test_cuda.py --noconftest -o addopts= -n 12`."""
import copy
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import pytest
import torch

NAME = os.environ.get('AUTOGAN_TEST_DEVICE', 'cuda')
DEVICE = torch.device(NAME)
if DEVICE.type == 'cuda' and not torch.cuda.is_available(): pytest.skip('PyTorch sees no graphics card', allow_module_level=True)

from autogan_nb.conditional.conditioning import CONDITIONALS
from autogan_nb.core import Batch, make_rng
from autogan_nb.data.images import ImageData, digits
from autogan_nb.gan.configs import MODELS, RECIPES, Engine, TrainConfig
from autogan_nb.metrics.evaluator import METRICS, Evaluator
from autogan_nb.metrics.extractors import get_extractor
from autogan_nb.models.models import model_settings, training_of
from autogan_nb.nas.searching import NAS_SPACES
from autogan_nb.practice.presets import configure
from autogan_nb.search.derive import FinalTraining
from autogan_nb.search.mlas import STRATEGIES
from autogan_nb.search.space import NAMED, SPACES, Architecture
from autogan_nb.settings import load_rooms
from autogan_nb.techniques.effects import CHANGES
from commands import run
from lessons import short_lessons  # noqa: F401

load_rooms()
ENGINES = {'eager': Engine(), 'graphs': Engine('bf16', 'graphs')} if DEVICE.type == 'cuda' else {'eager': Engine()}
ARCH = Architecture(NAMED['A'][:2])                                          # for images of 16 pixels
SMALL = replace(RECIPES['digits'].gan, g_width=16, d_width=16, d_batch=16, g_batch=16, latent_dim=16)
QUIET = '--device', NAME, '-q', '--no-report'
CHANCE = {'noise', 'DiffAugment', 'ADA', 'WGAN-GP'}                          # whose losses depend on random numbers of the device
SEARCH = ('--preset paper-digits --size 16 --space {space} --strategy {strategy} --objective {objective} --estimation {estimation} '
          '--iterations 3 --grow-after 2 --epochs .5 --controller-steps 2 --candidates 4 --top-k 2 --finalists 1 --reward-images 60 '
          '--steps 12 --eval-images 150 --set search_gan.g_width=8 --set search_gan.d_width=8 --g-width 8 --d-width 8 '
          '--set train.splits=2 --rungs 1/2').format
TUNED = ('tpe', 'gp', 'pareto') if find_spec('optuna') else ()


@cache
def some_digits(device, size=16):
    "Return a few hundred digits."
    whole = digits(size)
    return ImageData(whole.images[::16], whole.labels[::16], 'digits', names=whole.classes, device=device)


def changed(name, device, engine=Engine(), steps=40):
    "Make a training of a recipe with one change."
    change = {key: ('attention=8',) if value == ('attention=16',) else value for key, value in CHANGES[name].items()}
    config = TrainConfig(steps=steps, decay_lr=change.pop('decay_lr', True))
    return FinalTraining(ARCH, some_digits(device), replace(SMALL, **change), config, engine=engine)


def next_losses(training):
    "Return the losses of a cycle with given latents and images."
    rng, trainer = make_rng(1), training.trainer
    z, real = (torch.randn(n, *shape, generator=rng).to(trainer.device) for n, shape in
               ((trainer.config.g_batch, (trainer.config.latent_dim,)), (trainer.config.d_batch, (1, 16, 16))))
    losses = trainer.cycle(iter(lambda: Batch(real), None), lambda latents: trainer.G(z[:len(latents)]))
    return torch.stack([losses.d_loss, losses.g_loss]).cpu()


@pytest.mark.parametrize('name', CHANGES)
def test_a_technique_computes_what_it_does_on_a_cpu(name):
    here, there = changed(name, torch.device('cpu')), changed(name, DEVICE)
    there.advance(2)
    here.load_state_dict(copy.deepcopy(there.state_dict()))
    losses = [next_losses(training) for training in (here, there)]
    assert all(torch.isfinite(each).all() for each in losses)
    if name not in CHANCE: assert torch.allclose(*losses, rtol=2e-3, atol=2e-4), losses


@pytest.mark.parametrize('name', CHANGES)
@pytest.mark.parametrize('engine', ENGINES)
def test_a_technique_trains_with_an_engine(name, engine):
    whole, rest = (changed(name, DEVICE, ENGINES[engine], 12) for _ in range(2))
    whole.advance(8)
    rest.load_state_dict(copy.deepcopy(whole.state_dict()))
    for training in (whole, rest): training.advance(12)
    for training in (whole, rest):
        assert training.trainer.steps == 12 and torch.isfinite(training.losses).all()
        assert all(torch.isfinite(value).all() for value in training.generator.state_dict().values())


@pytest.mark.parametrize('recipe', RECIPES)
@pytest.mark.parametrize('engine', ENGINES)
def test_a_recipe_trains_with_an_engine(recipe, engine):
    gan = replace(RECIPES[recipe].gan, g_width=16, d_width=16, d_batch=16, g_batch=16)
    training = FinalTraining(ARCH, some_digits(DEVICE), gan, TrainConfig(steps=8), engine=ENGINES[engine])
    training.advance(8)
    assert torch.isfinite(training.losses).all()


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('engine', ENGINES)
def test_a_model_trains_with_an_engine(name, engine):
    preset = model_settings(configure('digits', model=name, size=16, steps=8, g_width=8, d_width=8))
    training, rest = (training_of(replace(preset, engine=ENGINES[engine]), ARCH, some_digits(DEVICE)) for _ in range(2))
    training.advance(6)
    rest.load_state_dict(copy.deepcopy(training.state_dict()))
    rest.advance(8)
    assert torch.isfinite(rest.losses).all()


@pytest.mark.parametrize('name', CONDITIONALS)
@pytest.mark.parametrize('engine', ENGINES)
def test_a_conditional_gan_trains_with_an_engine(name, engine):
    preset = configure('digits', conditional=name, size=16, steps=8, g_width=8, d_width=8)
    training = training_of(replace(preset, engine=ENGINES[engine]), ARCH, some_digits(DEVICE))
    training.advance(8)
    assert torch.isfinite(training.losses).all()


def test_figures_are_those_of_a_cpu():
    found = []
    for device in (torch.device('cpu'), DEVICE):
        data = some_digits(device)
        evaluator = Evaluator(get_extractor('digits', device, True, data), data, 2, metrics=tuple(METRICS))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            found.append(evaluator.measure((255 - data.images[:200]).split(50), 200).record())
    here, there = found
    numbers = [name for name, value in here.items() if isinstance(value, float)]
    assert len(numbers) >= len(METRICS)
    for name in numbers: assert there[name] == pytest.approx(here[name], rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize('strategy', [name for name in STRATEGIES if name not in ('tpe', 'gp', 'pareto') or name in TUNED])
def test_a_strategy_searches(strategy, tmp_path):
    shared = strategy.startswith('gradient')
    words = SEARCH(space='autogan', strategy=strategy, objective='fid', estimation='shared' if shared else 'halving')
    code, out, err = run(tmp_path, 'autogan_search', *words.split(), *QUIET, '--out', 'run')
    assert code == 0 and 'searched' in out, err


@pytest.mark.parametrize('space', SPACES)
def test_a_space_is_searched(space, tmp_path):
    estimation = 'halving' if getattr(SPACES[space], 'trained_only', '') else 'shared'
    words = SEARCH(space=space, strategy='reinforce', objective='mind', estimation=estimation)
    code, out, err = run(tmp_path, 'autogan_search', *words.split(), *QUIET, '--out', 'run')
    assert code == 0 and 'searched' in out, err


@pytest.mark.parametrize('more', ['--set engine.execution=graphs --set engine.precision=bf16',
                                  '--conditional reacgan', '--stream', '--set engine.deterministic=true', '--objective is'])
def test_a_search_with_an_option(more, tmp_path):
    if DEVICE.type == 'cpu' and 'graphs' in more: pytest.skip('a CPU has no graphs')
    words = SEARCH(space='autogan', strategy='reinforce', objective='fid', estimation='shared')
    code, out, err = run(tmp_path, 'autogan_search', *words.split(), *more.split(), *QUIET, '--out', 'run')
    assert code == 0 and 'searched' in out, err


@pytest.mark.parametrize('space', NAS_SPACES)
def test_a_network_is_searched(space, tmp_path):
    task = 'language' if 'rnn' in space else 'classify'
    words = (f'--task {task} --space {space} --iterations 3 --controller-steps 1 --candidates 2 --top-k 1 --steps 6 --set child_steps=3 '
             '--set shared_steps=4 --set controller_batch=2 --set width=8')
    small = '--size 10 --set limit=3000' if 'rnn' in space else '--data digits --size 8 --set limit=200'
    code, out, err = run(tmp_path, 'autogan_search', *words.split(), *small.split(), '--device', NAME, '-q', '--out', 'run')
    assert code == 0 and 'validation' in out, err


def test_all_commands_work_on_one_run(tmp_path):
    words = '--arch A --steps 30 --g-width 8 --d-width 8 --eval-images 150 --set train.splits=2 --eval-every 10 --out run'.split()
    said = lambda command, *words: run(tmp_path, command, *words)
    semi = 'from autogan_nb.tools.few_labels import autogan_semi; autogan_semi.shell()'
    teach = subprocess.run([sys.executable, '-c', semi, *f'--labels 50 --steps 4 --size 8 --device {NAME} -q'.split()], cwd=tmp_path)
    assert teach.returncode == 0
    for done in (said('autogan_train', *words, *QUIET), said('autogan_train', '--resume', 'run', '--steps', 40, *QUIET),
                 said('autogan_sample', 'run', '--n', 9, '--out', 'grid.png', '-q', '--device', NAME),
                 said('autogan_eval', 'run', '--images', 150, '--splits', 2, '--device', NAME),
                 said('autogan_export', 'run', 'g.pt2', '-q')):
        assert done[0] == 0, done
    assert (tmp_path/'grid.png').stat().st_size > 1000 and (tmp_path/'g.pt2').exists()


def test_a_deterministic_training_that_is_stopped_ends_the_same(tmp_path):
    words = ('--arch A --g-width 8 --d-width 8 --eval-images 150 --set train.splits=2 --set engine.deterministic=true '
             '--set train.decay_lr=false --set final_gan.techniques=').split()
    for start in (('--steps', 20, '--out', 'whole'), ('--steps', 12, '--out', 'rest')):
        code, _, err = run(tmp_path, 'autogan_train', *words, *start, *QUIET)
        assert code == 0, err
    assert run(tmp_path, 'autogan_train', '--resume', 'rest', '--steps', 20, *QUIET)[0] == 0
    files = [(tmp_path/name/'generator.safetensors').read_bytes() for name in ('whole', 'rest')]
    assert files[0] == files[1]


@pytest.mark.parametrize('start, words', [
    ('-m torch.distributed.run --standalone --nproc-per-node 1 -m autogan_nb.cli train',
     '--arch A --steps 12 --g-width 8 --d-width 8 --eval-images 150 --set train.splits=2'),
    ('-m autogan_nb.cli search', SEARCH(space='autogan', strategy='random', objective='fid', estimation='halving')
     + ' --executor processes --at-once 2')])
def test_several_processes_train(start, words, tmp_path):
    done = subprocess.run([sys.executable, *start.split(), *words.split(), *QUIET, '--out', 'run'],
                          cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and (tmp_path/'run/generator.safetensors').exists(), done.stderr

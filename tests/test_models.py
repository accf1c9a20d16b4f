"Test every model: trained, stopped and continued bit for bit, saved, drawn, measured, exported, and refused in one sentence."
import json
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from autogan_nb.data.images import ImageData, digits
from autogan_nb.gan.discriminator import load_discriminator, save_discriminator
from autogan_nb.gan.configs import MODELS
from autogan_nb.models.models import model_settings, training_of
from autogan_nb.practice.presets import configure
from autogan_nb.search.derive import restart
from autogan_nb.search.derived_gan import load_generator, save_generator
from autogan_nb.search.space import NAMED, Architecture
from autogan_nb.settings import load_rooms
from commands import one_sentence, run
from lessons import short_lessons  # noqa: F401

load_rooms()
QUIET = '--device', 'cpu', '-q', '--no-report'
SMALL = '--steps', 4, '--g-width', 8, '--d-width', 8, '--eval-images', 150, '--set', 'train.splits=2', *QUIET
ARCH = Architecture(NAMED['A'][:2])                                   # for images of 16 pixels
TEXTS = {'infogan': '3 -0.5'}          # model to a text that it reads, if it is not the usual one


@pytest.fixture(scope='module')
def data():
    "Return a few hundred digits, so that a model that prepares something from all images is quick."
    whole = digits(16)
    return ImageData(whole.images[::16], whole.labels[::16], 'digits', names=whole.classes)


def preset_of(name, **more):
    "Return the settings of a small training with what the model adds."
    return model_settings(configure('digits', model=name, size=16, steps=6, g_width=8, d_width=8, **more))


def tensors(training): return [*training.generator.state_dict().values(), *training.trainer.D.state_dict().values()]


def same(a, b): return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.mark.parametrize('name', MODELS)
def test_a_model_continues_bit_for_bit_and_its_files_hold_all(name, data, tmp_path):
    whole, part, rest = (training_of(preset_of(name), ARCH, data) for _ in range(3))
    whole.advance(5)
    part.advance(2)
    state = tmp_path/'state'
    torch.save(part.state_dict(), state)
    rest.load_state_dict(torch.load(state, weights_only=True))
    rest.advance(5)
    assert same(tensors(whole), tensors(rest)) and torch.isfinite(whole.losses).all()
    torch.manual_seed(0)
    z, generator, D = torch.randn(3, whole.generator.latent_dim), whole.generator, whole.trainer.D
    save_generator(tmp_path/'g', generator, model=name)
    save_discriminator(tmp_path/'d', D)
    loaded = load_generator(tmp_path/'g')
    with torch.no_grad(): assert torch.allclose(loaded(z), generator(z), atol=1e-6) and loaded(z).shape == (3, 1, 16, 16)
    assert same([*load_discriminator(tmp_path/'d').state_dict().values()], [*D.state_dict().values()])
    assert not same(tensors(training_of(preset_of(name), ARCH, data, seed=1)), tensors(training_of(preset_of(name), ARCH, data)))


@pytest.mark.parametrize('name', MODELS)
def test_a_model_can_begin_again(name, data):
    training = training_of(preset_of(name), ARCH, data)
    training.advance(2)
    restart(training, .5)
    training.advance(1)
    assert training.restarts == 1 and torch.isfinite(training.losses).all()


@pytest.mark.parametrize('name', MODELS)
def test_a_training_starts_from_a_model(name, data):
    first = training_of(preset_of(name), ARCH, data)
    first.advance(2)
    G, D = first.generator, first.trainer.D
    start = dict(G=G.state_dict(), D=D.state_dict(), layers=dict(G=G.layers, D=D.layers))
    tuned = training_of(preset_of(name), ARCH, data, seed=1, start=start)
    assert tuned.trainer.G.layers == G.layers
    own = {part: weight for part, weight in G.state_dict().items() if 'captions' not in part}      # that encoder is trained anew
    assert all(torch.equal(tuned.trainer.G.state_dict()[part], weight) for part, weight in own.items())
    tuned.advance(1)


@pytest.mark.parametrize('name', MODELS)
def test_the_commands_know_a_model(name, tmp_path):
    np.savez(tmp_path/'digits200.npz', images=digits(16).images[::25, 0].numpy(), labels=digits(16).labels[::25].numpy())
    here = '--data', 'digits200.npz', '--extractor', 'digits', '--channels', 1
    code, out, err = run(tmp_path, 'autogan_train', str(ARCH), '--model', name, *here, *SMALL, '--out', 'run')
    assert (code, err) == (0, ''), err
    row, generator = MODELS[name], load_generator(tmp_path/'run'/'generator.safetensors')
    config = json.loads((tmp_path/'run'/'config.json').read_text())['config']
    assert generator.notes['model'] == config['preset']['model'] == name and f'--model {name}' in config['command'] and row.label in out
    code, out, err = run(tmp_path, 'autogan_train', '--resume', 'run', '--steps', 6, *QUIET)
    assert (code, err) == (0, ''), err
    draw = lambda *words: run(tmp_path, 'autogan_sample', 'run', *words, '-q')
    assert draw('--n', 9, '--npz', 'all.npz') == (0, 'all.npz\n', '') and np.load(tmp_path/'all.npz')['arr_0'].shape == (9, 16, 16, 1)
    code, out, err = run(tmp_path, 'autogan_eval', 'run', '--images', 150, '--splits', 2, '--device', 'cpu')
    assert code == 0 and 'generator' in out, err
    assert run(tmp_path, 'autogan_export', 'run', 'g.pt2', '-q') == (0, 'g.pt2\n', '')
    again = draw('--reconstruct', 'digits200.npz', '--n', 5, '--npz', 'again.npz')
    if row.reconstruct is None: one_sentence(again, 'which has no encoder: leave out --reconstruct')
    else: assert again == (0, 'again.npz\n', '') and np.load(tmp_path/'again.npz')['arr_0'].shape == (5, 16, 16, 1)
    told = draw('--text', TEXTS.get(name, 'a thick seven'), '--n', 3, '--npz', 'told.npz')
    if row.from_text is None: one_sentence(told, 'which reads no text: leave out --text')
    else: assert told == (0, 'told.npz\n', '') and np.load(tmp_path/'told.npz')['arr_0'].shape == (3, 16, 16, 1)
    if not row.labels:
        one_sentence(run(tmp_path, 'autogan_train', '--model', name, '--conditional', 'cgan', *SMALL), 'cannot be combined')


def test_mistakes_get_one_sentence_and_leave_nothing_behind(tmp_path):
    command = lambda *words: run(tmp_path, *words)
    one_sentence(command('autogan_train', '--model', 'dcgam', *SMALL), "unknown model 'dcgam': did you mean 'dcgan'?")
    one_sentence(command('autogan_train', '--set', 'model=dcgam', *SMALL), "did you mean 'dcgan'?")
    one_sentence(command('autogan_search', '--model', 'dcgan'), 'there is no --model: models are trained, not searched: use autogan_train')
    one_sentence(command('autogan_search', '--set', 'model=dcgan', '-q'), "model is 'dcgan', but models are trained, not searched")
    one_sentence(command('autogan_train', '--model', 'dcgan', '--set', 'final_gan.g_layers=r3', *SMALL), 'give it first')
    one_sentence(command('autogan_sample', 'digits', '--text', 'seven'), 'this generator is a plain one, which reads no text')
    one_sentence(command('autogan_sample', 'digits', '--reconstruct', 'digits'), 'this generator is a plain one, which has no encoder')
    one_sentence(command('autogan_sample', 'digits', '--reconstruct', 'digits', '--seeds', '1-3'), 'leave out --seeds')
    one_sentence(command('autogan_train', '--from', 'digits', '--model', 'dcgan', *QUIET),
                 '--model is dcgan, but the networks of --from have none')
    assert not list(tmp_path.iterdir())


def test_a_run_can_be_the_start_of_another(tmp_path):
    train = lambda *words: run(tmp_path, 'autogan_train', *words, *SMALL)
    assert train(str(ARCH), '--model', 'dcgan', '--out', 'one')[0] == 0
    assert train('--from', 'one', '--out', 'two')[0] == 0
    assert load_generator(tmp_path/'two'/'generator.safetensors').notes['model'] == 'dcgan'
    one_sentence(train('--from', 'one', '--model', 'infogan', '--out', 'x'), 'model is infogan, but the networks of --from have dcgan')


def test_what_makes_the_model_is_never_lost():
    for name, row in MODELS.items():
        own = {'final_gan.techniques': ('cosine',), 'final_gan.terms': (), 'final_gan.g_lr': .007}
        chosen = configure('digits', model=name, size=16, settings=own)
        gan = model_settings(chosen).final_gan
        assert gan.g_lr == .007 and 'cosine' in gan.techniques, name
        added = row.settings(replace(chosen.final_gan, techniques=(), terms=()))
        assert set(added.techniques) <= set(gan.techniques) and set(added.g_layers) <= set(gan.g_layers), name


def test_a_file_of_settings_may_name_the_model(tmp_path):
    (tmp_path/'own.json').write_text(json.dumps(dict(model='dcgan', final_gan=dict(g_lr=3e-4))))
    code, out, err = run(tmp_path, 'autogan_train', str(ARCH), '--config', 'own.json', *SMALL, '--out', 'run')
    config = json.loads((tmp_path/'run'/'config.json').read_text())['config']
    assert (code, err) == (0, '') and config['preset']['final_gan'] | dict(g_lr=3e-4, d_lr=2e-4) == config['preset']['final_gan']
    words = config['command'].split()
    assert '--model' in words and 'final_gan.g_lr=0.0003' in words and 'd_lr' not in config['command']


def test_every_model_has_its_place_in_the_table_of_the_survey():
    cells = nbformat.read(Path(__file__).parent.parent/'nbs'/'models'/'81_models.ipynb', 4).cells
    table = next(cell.source for cell in cells if '| model |' in cell.source)
    assert [name for name in MODELS if f'`{name}`' not in table] == []

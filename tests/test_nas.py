"Test searches for classifiers and language models as commands: killed, stopped, continued, refused."
import signal

import pytest
import torch

from commands import one_sentence
from commands import run as run_command
from survival import Running, compare, run
from autogan_nb.nas.searching import NASOptions, complete, load_child, nas_search, problem_of

LENGTHS = ('--iterations 2 --controller-steps 2 --candidates 3 --top-k 1 --steps 12 --set shared_steps=6 --set controller_batch=2 '
           '--set width=8 --device cpu -q').split()
SPACES = {'enas-micro': '--task classify --space enas-micro --data digits --size 16 --set limit=300'.split(),
          'enas-rnn': '--task language --set limit=4000 --size 10'.split(),
          'nas-conv': '--task classify --space nas-conv --data digits --size 8 --set limit=300 --set child_steps=5'.split()}
KILLS = {'enas-micro': [('iteration', 2, .05), ('checkpoint', 4, .0)],
         'enas-rnn': [('controller', 1, .02), ('ranking', 1, .0)],
         'nas-conv': [('controller', 2, .1)]}


def start(space): return ['autogan_search', *SPACES[space], *LENGTHS, '--out', 'run']


@pytest.mark.parametrize('space', SPACES)
def test_a_killed_search_ends_like_a_whole_one(space, tmp_path):
    whole, killed = tmp_path/'whole', tmp_path/'killed'
    code, out, err = run(start(space), whole)
    assert (code, err) == (0, '') and 'validation' in out
    running = Running(start(space), killed, kill=KILLS[space][0])
    assert running.wait() == -signal.SIGKILL, running.err
    for kill in KILLS[space][1:]:
        running = Running(['autogan_search', '--resume', 'run', '--device', 'cpu', '-q'], killed, kill=kill)
        assert running.wait() in (0, -signal.SIGKILL), running.err
    code, again, err = run(['autogan_search', '--resume', 'run', '--device', 'cpu', '-q'], killed)
    assert (code, err, again) == (0, '', out)
    assert compare(killed/'run', whole/'run')['tensors'] > 0
    names = sorted(file.name for file in (whole/'run/networks').iterdir())
    assert names == ['random.safetensors', 'searched-1.safetensors']
    for name in [f'networks/{name}' for name in names] + ['report.html']:
        assert (killed/'run'/name).read_bytes() == (whole/'run'/name).read_bytes(), name
    net, facts = load_child(whole/'run/networks/searched-1.safetensors')
    o = complete(NASOptions(**facts['options']))
    assert problem_of(o).measure(net, 'test') == facts['figures']['test']


def test_a_stopped_search_says_how_to_continue_and_other_commands_know_the_run(tmp_path):
    running = Running(start('enas-micro'), tmp_path, kill=('controller', 1, 0), sign=signal.SIGTERM)
    assert running.wait() == 128 + signal.SIGTERM
    assert 'everything is saved: continue with autogan_search --resume run' in running.err
    one_sentence(run_command(tmp_path, 'autogan_report', 'run'), 'no results yet', '--resume')
    assert run(['autogan_search', '--resume', 'run', '-q'], tmp_path)[0] == 0
    code, out, _ = run_command(tmp_path, 'autogan_report', 'run', '--out', 'page.html')
    assert code == 0 and (tmp_path/'page.html').read_text().count('<svg') >= 4 and 'page.html' in out
    one_sentence(run_command(tmp_path, 'autogan_train', '--resume', 'run'), 'run')


@pytest.mark.parametrize('words, said', [
    ('--task classify --space enas-micr', "did you mean 'enas-micro'"), ('--task sing', 'unknown task'),
    ('--task classify --loss hinge', '--loss'),
    ('--task language --space nasnet', 'classify'), ('--task classify --data digitz', "did you mean 'digits'"),
    ('--task language --data nowhere', 'ptb.train.txt'), ('--task classify --set iterations=zero', 'iterations'),
    ('--task classify --set batch=0', 'batch'), ('--task classify --strategy reinforced', "did you mean 'reinforce'"),
    ('--task classify --strategy gradient', 'the networks that all candidates of a search for GANs share'),
    ('--task language --set limit=10', 'tokens'), ('--task classify --set layers=2', 'nodes is 2')])
def test_bad_input_is_refused_in_one_sentence(words, said, tmp_path):
    one_sentence(run_command(tmp_path, 'autogan_search', *words.split(), '-q'), said)
    assert not (tmp_path/'runs').exists()


def test_every_strategy_searches_the_spaces():
    from autogan_nb.search.mlas import STRATEGIES
    from autogan_nb.settings import load_rooms
    load_rooms()
    o = dict(space='enas-rnn', size=10, limit=3000, width=8, iterations=1, shared_steps=2, controller_steps=1, controller_batch=2,
             candidates=3)
    problem = problem_of(complete(NASOptions(**o)))
    for strategy in sorted(STRATEGIES.keys() - {'tpe', 'gp', 'pareto', 'gradient', 'gradient-mind'}):
        found = nas_search(complete(NASOptions(**o, strategy=strategy)), problem).run()
        assert len(found.beams) == 2 and torch.isfinite(torch.tensor([beam.reward for beam in found.beams])).all(), strategy

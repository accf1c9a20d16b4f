"Test that a job of several ranks is that of one process, that any rank may die, and that it continues on any number of ranks."
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from faults import poison
from survival import TRAIN, Running, checkpoint, compare, limit_files, make_run, start_function, tiny, write_data
from autogan_nb.core import make_rng, seeded
from autogan_nb.data.images import digits
from autogan_nb.gan.configs import Engine, GANConfig
from autogan_nb.gan.training import GANTrainer
from autogan_nb.parallel.ranks import Exchange, Ranks
from autogan_nb.practice.runs import RunFolder
from autogan_nb.search.derive import derived_networks
from autogan_nb.search.dynamic_reset import shared_networks
from autogan_nb.search.space import AUTOGAN

ARCH = 'pre-batch-nearest-sc,post-batch-bilinear-sc-s0'
HARD = GANConfig(g_width=8, d_width=8, latent_dim=16, d_batch=5, g_batch=7, n_critic=2, g_lr=1e-3, d_lr=1e-3, loss='ragan',
                 terms=('r1=0.5', 'r2=0.5@2'), techniques=('diffaugment',))


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


# Real processes that exchange tensors, step by step against one process.

def cycles(kind, config, ranks=None, engine=Engine(), n=4):
    "Train for some cycles; return the losses and a copy of all weights and buffers after each. Adam does not blow up rounding errors."
    arch, data, rng = AUTOGAN.parse(ARCH), digits(16), make_rng(1)
    build = partial(derived_networks, arch) if kind == 'derived' else partial(shared_networks, 2)
    trainer = GANTrainer(*seeded(lambda: build(config, 1), 0), config, make_rng(0))
    if kind == 'derived': trainer.for_final_training(n)
    if ranks: ranks.attach(trainer, engine)
    for optimizer in (trainer.g_optimizer, trainer.d_optimizer): optimizer.param_groups[0]['eps'] = 1e-3
    stream, rows, unused = data.batches(config.d_batch, 16, make_rng(0)), [], 0
    generate = None if kind == 'derived' else lambda z: trainer.G(z, AUTOGAN.random(2, rng))
    for _ in range(n):
        losses = torch.stack(trainer.cycle(stream, generate))
        unused += sum(w.grad is None for w in trainer.G.parameters())
        rows.append([losses, *(x.clone() for net in (trainer.G, trainer.D) for x in net.state_dict().values())])
    assert bool(unused) == (kind == 'shared')
    return rows


def in_a_rank(rank, size, port, folder, kind, config, engine):
    os.environ |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group('gloo', rank=rank, world_size=size)
    torch.save(cycles(kind, config, Ranks(Exchange(rank, size)), engine), folder/f'{rank}.pt')
    dist.destroy_process_group()


def by_ranks(size, folder, kind, config, engine=Engine()):
    port = free_port()
    processes = [start_function(in_a_rank, rank, size, port, folder, kind, config, engine) for rank in range(size)]
    for process in processes: process.join(100)
    assert [process.exitcode for process in processes] == [0] * size
    return [torch.load(folder/f'{rank}.pt') for rank in range(size)]


def apart(one, other):
    "Return the largest difference after each cycle, relative for numbers above 1."
    return [max(((a - b).abs() / b.abs().clamp(min=1)).max().item() for a, b in zip(*rows)) for rows in zip(one, other)]


@pytest.mark.parametrize('kind, config', [('derived', HARD), ('shared', replace(HARD, loss='mmd')),
                                          ('derived', replace(HARD, d_layers=('minibatch',), techniques=('historical=0.01',)))],
                         ids=['derived, ragan, R1, R2', 'shared, mmd, R1, R2', 'a discriminator that cannot be divided'])
def test_two_processes_are_one(kind, config, tmp_path):
    first, second = by_ranks(2, tmp_path, kind, config)
    assert apart(first, second) == [0] * 4
    assert max(apart(first, cycles(kind, config))) < 1e-5


def test_batch_norm_of_each_rank(tmp_path):
    first, second = by_ranks(2, tmp_path, 'derived', HARD, Engine(rank_norm=True))
    assert apart(first, second) == [0] * 4
    assert apart(first, cycles('derived', HARD))[0] > 1e-4


# Jobs. The ranks are started as `torchrun` does it, with a store that outlives them, but forked, so that they need not import PyTorch.

stores = []


def launched(env): os.environ.update(env)


def start(words, folder, size=2, victim=None, kill=None, sign=signal.SIGKILL, spoilt={}):
    "Start the ranks of a job; the victim sends itself a signal when it enters a phase. `words` may be a function of the rank."
    words = words if callable(words) else lambda rank, same=words: same
    env = {}
    if size > 1:
        stores.append(dist.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False))
        env = dict(WORLD_SIZE=str(size), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(stores[-1].port), TORCHELASTIC_USE_AGENT_STORE='True')
    how = lambda rank: dict(kill=kill, sign=sign) if rank == victim else {}
    def before(rank):
        its = env | dict(RANK=str(rank), LOCAL_RANK=str(rank))
        return partial(spoil, its, spoilt[rank]) if rank in spoilt else partial(launched, its)
    return [Running(words(rank), folder/f'rank{rank}', before=before(rank), **how(rank)) for rank in range(size)]


def run(words, folder, size=2, **how):
    "Run a job to its end; return the exit codes, and what all ranks have said."
    ranks = start(words, folder, size, **how)
    return [rank.wait(150) for rank in ranks], ''.join(rank.err for rank in ranks), ''.join(rank.out for rank in ranks)


def train(path, *words): return ['autogan_train', '--resume', path, '-q', '--no-report', '--device', 'cpu', *words]
def search(path): return ['autogan_search', *train(path)[1:]]


@pytest.fixture(scope='module')
def data(tmp_path_factory): return write_data(tmp_path_factory.mktemp('data'))


def new_training(folder, data, **settings):
    "Make a run folder for a training of 12 steps with evaluations, R1 and R2; a checkpoint is written after every step."
    preset = tiny(data, train=replace(TRAIN, **dict(steps=12, eval_every=4) | settings))
    gan = replace(preset.final_gan, loss='ragan', terms=('r1=0.1', 'r2=0.1@2'))
    return make_run(folder, replace(preset, final_gan=gan), arch=ARCH)


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    "Train on two ranks without interruption."
    folder = tmp_path_factory.mktemp('trained')
    path = new_training(folder/'run', data)
    codes, err, out = run(train(path), folder)
    assert (codes, err) == ([0, 0], '') and out.count('<- selected') == 1
    assert json.loads((path/'process.json').read_text())['process'] > 0 and not list(path.glob('.*.tmp'))
    return path


def losses(path, kind='train'): return torch.tensor([[r['d_loss'], r['g_loss']] for r in RunFolder.open(path).records(kind)])


def test_a_training_on_one_process_has_the_same_losses(data, trained, tmp_path):
    path = new_training(tmp_path/'run', data)
    assert run(train(path), tmp_path, size=1)[:2] == ([0], '')
    assert (losses(path) - losses(trained)).abs().max() < 1e-4 and len(losses(path)) == 12
    assert (losses(path)[:5] - losses(trained)[:5]).abs().max() < 1e-5


MOMENTS = [('cycle', 3, .003), ('evaluation', 2, 0), ('last measurement', 1, 0), ('preparation', 1, 0), ('cycle', 2, .01),
           ('checkpoint', 2, 0), ('cycle', 3, .02), ('end', 1, 0)]


def killed_until_the_end(words, path, folder, moments, shift=0):
    "Kill one rank after the other at the given moments, and let the job finish; each time one sentence is said."
    for i, moment in enumerate(moments):
        codes, err, out = run(words, folder, victim=(i + shift) % 2, kill=moment)
        if codes == [0, 0]: continue
        assert out == '' and 'Traceback' not in err, err
        said = [line for line in err.splitlines() if line]
        if moment[0] == 'preparation': assert len(said) == 1, (moment, err)                # nothing has begun
        else:
            go_on = f'the last checkpoint is intact: continue with {words[0]} --resume {path}'
            assert said == [f'{words[0]}: another process of this job has ended; {go_on}'], (moment, err)
    codes, err, out = run(words, folder)
    assert (codes, err) == ([0, 0], ''), err


def test_any_rank_may_be_killed(data, trained, tmp_path):
    path = new_training(tmp_path/'run', data)
    killed_until_the_end(train(path), path, tmp_path, MOMENTS[:3])
    assert compare(path, trained)['tensors'] > 50


def test_any_rank_may_be_killed_anywhere(data, trained, long, tmp_path):
    if not long: pytest.skip('with --long')
    for shift in (0, 1):
        path = new_training(tmp_path/f'run{shift}', data)
        killed_until_the_end(train(path), path, tmp_path, MOMENTS, shift)
        compare(path, trained)


def test_a_signal_to_one_rank_stops_all(data, trained, tmp_path):
    path = new_training(tmp_path/'run', data)
    codes, err, out = run(train(path), tmp_path, victim=1, kill=('cycle', 4, 0), sign=signal.SIGTERM)
    assert codes == [143, 143] and out == ''
    assert err == f'autogan_train: stopped by SIGTERM, everything is saved: continue with autogan_train --resume {path}\n'
    assert 3 <= checkpoint(path/'checkpoint.pt')['state']['trainings']['trained']['loop']['trainer']['steps'] <= 5
    assert run(train(path), tmp_path)[:2] == ([0, 0], '')
    compare(path, trained)


@pytest.mark.parametrize('first, then', [(2, 1), (1, 2), (2, 3), (3, 2)])
def test_it_continues_on_another_number_of_ranks(first, then, data, trained, long, tmp_path):
    if 3 in (first, then) and not long: pytest.skip('with --long')
    path = new_training(tmp_path/'run', data)
    codes, err, _ = run(train(path), tmp_path, first, victim=0, kill=('cycle', 6, 0), sign=signal.SIGTERM)
    assert set(codes) == {143}
    assert run(train(path), tmp_path, then)[:2] == ([0] * then, '')
    assert len(losses(path)) == 12 and (losses(path) - losses(trained)).abs().max() < 1e-4


def test_a_search_of_two_ranks(whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    codes, err, out = run(search(path), tmp_path, victim=1, kill=('controller', 2, .01))
    assert -signal.SIGKILL in codes and len(err.splitlines()) == 1, err
    codes, err, out = run(search(path), tmp_path)
    assert (codes, err) == ([0, 0], ''), err
    theirs, mine = (RunFolder.open(p).records('search') for p in (whole.path, path))
    assert [r['size'] for r in mine] == [r['size'] for r in theirs] and [r['resets'] for r in mine] == [r['resets'] for r in theirs]
    assert (losses(path, 'search')[:2] - losses(whole.path, 'search')[:2]).abs().max() < 1e-2
    names = lambda p: {str(f.relative_to(p)) for f in p.rglob('*') if 'tensorboard' not in str(f) and f.name != 'checkpoint.new.pt'}
    assert {name for name in names(path) if 'searched' not in name} == {name for name in names(whole.path) if 'searched' not in name}


def test_mistakes_are_told_once(data, tmp_path):
    def refused(*words, **how):
        codes, err, out = run([*words, '--device', 'cpu', '-q'], tmp_path, **how)
        assert set(codes) <= {2, 143} and 2 in codes and out == '' and len(err.splitlines()) == 1, (codes, err)
        return err
    assert "unknown option '--sped'" in refused('autogan_train', '--sped', '3')
    assert 'needs only one process: start it by its name' in refused('autogan_eval', 'digits')
    assert 'is a run of autogan_train' in refused('autogan_search', '--resume', new_training(tmp_path/'run', data))


def test_a_rank_with_a_problem_of_its_own_is_named(data, tmp_path):
    here, other = ([*f'autogan_train {ARCH} --device cpu -q --out {tmp_path}/new --data'.split(), place] for place in (data, 'missing.npz'))
    codes, err, out = run(lambda rank: other if rank else here, tmp_path)
    assert codes == [2, 2] and re.fullmatch(r'autogan_train: rank 1 on \S+: .*missing.npz.*\n', err), (codes, err)
    there = tmp_path/'other.npz'
    write_data(tmp_path).rename(there)
    images = np.load(there)['images']
    np.savez(there, images=images[::-1])
    here[-2:-1] = ['--out', tmp_path/'second', '--data']
    codes, err, out = run(lambda rank: [*here[:-1], there] if rank else here, tmp_path)
    assert codes == [2, 2] and 'rank 1 on ' in err and 'has other images than rank 0' in err and len(err.splitlines()) == 1, err


def spoil(env, what):
    "Prepare a rank whose training meets a NaN, or whose disk is full."
    launched(env)
    poison('loss of the discriminator', 'train', 7, 1) if what == 'NaN' else limit_files(60_000)


@pytest.mark.parametrize('what, victims', [('NaN', (0, 1)), ('a full disk', (0,))])
def test_faults(what, victims, data, long, tmp_path):
    if not long: pytest.skip('with --long')
    path = new_training(tmp_path/'run', data)
    codes, err, out = run(train(path), tmp_path, spoilt={rank: what for rank in victims})
    if what == 'NaN': assert (codes, err) == ([0, 0], '') and len(RunFolder.open(path).records('fault')) == 1
    else: assert codes == [2, 2] and re.fullmatch(r'autogan_train: .*File too large; the last checkpoint is intact: .*\n+', err), err


def test_a_rank_that_hangs_is_not_waited_for(data, long, tmp_path):
    if not long: pytest.skip('with --long')
    path = new_training(tmp_path/'run', data, steps=5000, eval_every=0)
    first, second = start(train(path), tmp_path)
    assert second.wait_for('step')
    os.kill(second.pid, signal.SIGSTOP)
    time.sleep(1)
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait(60) == 143 and 'another process of this job has ended; the last checkpoint is intact' in first.err
    os.kill(second.pid, signal.SIGKILL)


def test_under_torchrun(data, trained, tmp_path):
    path = new_training(tmp_path/'run', data, steps=2000, eval_every=0)
    launch = [Path(sys.executable).parent/'torchrun', '--nproc-per-node', '2', '--master-port', str(free_port())]
    words = ['-m', 'autogan_nb.cli', *train(path)]
    env = os.environ | dict(PYTHONPATH=str(Path(__file__).parent.parent), OMP_NUM_THREADS='1')
    job = subprocess.Popen([*launch, *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not RunFolder.open(path).records('train') and time.monotonic() < end and job.poll() is None: time.sleep(.1)
    children = subprocess.run(['pgrep', '-P', str(job.pid)], capture_output=True, text=True).stdout.split()
    ranks = [pid for pid in children if 'autogan_nb.cli' in Path(f'/proc/{pid}/cmdline').read_text()]
    writer = json.loads((path/'process.json').read_text())['process']
    os.kill(next(int(pid) for pid in ranks if int(pid) != writer), signal.SIGKILL)
    out, err = job.communicate(timeout=60)
    said = f'another process of this job has ended; the last checkpoint is intact: continue with autogan_train --resume {path}'
    assert job.returncode and re.findall('^autogan_train: (.*)', err, re.M) == [said], err

"Test that a job that is killed or stopped anywhere, and then continued, ends exactly like one that was never interrupted."
import copy
import random
import re
import shutil
import signal

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path


import pytest

from survival import (GAN, SEARCH, Running, checkpoint, compare, differences, in_child, kill_here, make_run, run, run_function, snapshots,
                      tiny, write_results)
from autogan_nb.practice.runs import RunFolder
from autogan_nb.search.dynamic_reset import SharedGAN
from autogan_nb.search.search import make_search
from autogan_nb.data.streaming import open_data

GO_ON = 'autogan_search --resume {} -q --no-report --device cpu'


def go_on(path): return GO_ON.format(path).split()


def kills_until_the_end(whole, folder, kills, **options):
    "Start a job, kill it at each of the given moments, let it finish; return where it was killed, and how much was the same."
    path, fallen = make_run(folder/'run', tiny(whole.data)), []
    for kill in kills:
        running = Running(go_on(path), folder/'process', kill=kill, snapshots=folder/'snapshots', **options)
        code = running.wait()
        if code != 0: fallen.append(running.where)
        assert code in (0, -signal.SIGKILL), running.err
    code, out, err = run(go_on(path), folder/'process', snapshots=folder/'snapshots')
    assert (code, err) == (0, ''), err
    assert out.replace(str(path), '') == whole.out.replace(str(whole.path), '')
    return fallen, compare(path, whole.path, folder/'snapshots', whole.snapshots)


def in_all(rows):
    "Sum up the figures of runs that were all the same to the bit."
    phases = Counter(place.split(',')[0].split(' > ')[-1] or 'in between' for row in rows for place in row['fell'])
    return dict(runs=len(rows), kills=sum(len(row['fell']) for row in rows), phases=dict(phases.most_common()),
                checkpoints=sum(row['checkpoints'] for row in rows),
                tensors=sum(row['tensors'] for row in rows), lines=sum(row['lines'] for row in rows), differences=0, each=rows)


def test_the_tiny_job_has_all_that_can_be_interrupted(whole):
    records = RunFolder.open(whole.path).records()
    search = [r for r in records if r['kind'] == 'search']
    assert [r['size'] for r in search] == [8, 8, 8, 16, 16, 16]
    assert [r['resets'] for r in search] == [0, 1, 1, 1, 2, 2]
    assert Counter(r['kind'] for r in records) == dict(search=6, train=40, eval=8, scores=2)
    final = [box['state'] for box in whole.snapshots.values()]
    assert any('search' in state and state['search'] for state in final) and any(state.get('trainings') for state in final)
    searching = next(state['search'] for state in final if state.get('search'))['loop']
    assert {'task', 'strategy', 'rewards', 'now', 'rng', 'resets', 'iteration', 'found'} <= searching.keys()
    assert {'trainer', 'detector', 'stream', 'archs', 'losses', 'reward_z'} <= searching['task'].keys()
    assert {'policy', 'beams'} <= searching['strategy'].keys()
    assert {'G', 'D', 'g_optimizer', 'd_optimizer', 'rng'} <= searching['task']['trainer'].keys()
    training = next(iter(next(state['trainings'] for state in final if state.get('trainings')).values()))['loop']
    assert {'average', 'schedule0', 'schedule1', 'steps'} <= training['trainer'].keys()


def test_killed_three_times_it_ends_the_same(whole, tmp_path):
    kills = [('shared GAN', 2, .02), ('growth', 1, 0), ('evaluation', 5, .01)]
    fallen, same = kills_until_the_end(whole, tmp_path, kills)
    assert len(fallen) == 3
    assert same['checkpoints'] > 20 and same['tensors'] > 3000 and same['lines'] == 56, same


# Where the long version may kill a process: how often an uninterrupted job enters the phase, and within how many seconds to kill it.
MOMENTS = {'shared GAN': (6, .2), 'controller': (6, .1), 'growth': (1, .05), 'reset': (2, .05), 'ranking': (2, .05),
           'derivation': (1, .5), 'steps': (40, .05), 'evaluation': (8, .1), 'last measurement': (2, .1),
           'checkpoint': (50, .05), 'end': (1, .1), 'cycle': (84, .02)}


def random_kill(rng, phase=None):
    "Draw a moment somewhere in a phase."
    phase = phase or rng.choice(sorted(MOMENTS))
    entries, seconds = MOMENTS[phase]
    return phase, rng.randint(1, entries), rng.uniform(0, seconds)


def test_killed_at_random_moments(whole, long, tmp_path):
    if not long: pytest.skip('with --long')
    rng, rows = random.Random(time.time_ns()), []
    for i, phase in enumerate([*MOMENTS, *MOMENTS]):
        kills = [random_kill(rng, phase), *(random_kill(rng) for _ in range(rng.randint(0, 2)))]
        fallen, same = kills_until_the_end(whole, tmp_path/str(i), kills)
        rows.append(dict(fell=fallen, **same))
        shutil.rmtree(tmp_path/str(i))
        write_results('kills', in_all(rows))
    assert len(rows) >= 20 and in_all(rows)['kills'] >= 20


def test_killed_while_a_checkpoint_is_written(whole, long, tmp_path):
    if not long: pytest.skip('with --long')
    rng, rows = random.Random(time.time_ns()), []
    for i, where in enumerate(['half write', 'replace', 'fsync'] * 4):
        fallen, same = kills_until_the_end(whole, tmp_path/str(i), [(where, rng.randint(1, 120), 0), (where, rng.randint(1, 60), 0)])
        rows.append(dict(at=where, fell=fallen, **same))
        shutil.rmtree(tmp_path/str(i))
        write_results('kills_in_a_write', in_all(rows))


# Every place in the writing of a checkpoint, tried in a job that only counts.

def count_on(path, rounds, kill):
    "Write two log lines and a checkpoint per round, starting from the last checkpoint; die where `kill` says."
    if kill: kill_here(*kill)
    job = RunFolder.open(path)
    state = job.load_checkpoint() or dict(rounds=0)
    for i in range(state['rounds'], rounds):
        for part in (0, 1): job.log(kind='count', number=2*i + part)
        job.save_checkpoint(dict(rounds=i + 1, ballast=bytes(1000).hex()))
    job.close()


def killed_at_every_place(folder, where, rounds):
    "Kill at the 1st place, the 2nd, ... until none is left; assert that what was saved is there each time and that the end is the same."
    for n in range(1, 1000):
        path = folder/f'{n}'
        RunFolder.create(path, {}).close()
        ended = in_child(count_on, path, rounds, (where, n))
        assert ended in (0, -signal.SIGKILL)
        saved = [checkpoint(path/name)['state']['rounds'] for name in ('checkpoint.pt', 'checkpoint.prev.pt') if (path/name).exists()]
        last_two = [[], [1], *([r, r - 1] for r in range(2, rounds + 1)), *([r] for r in range(2, rounds))]
        assert saved in last_two, saved
        assert in_child(count_on, path, max(saved, default=0), None) == 0             # restore what was saved, without going on
        assert [r['number'] for r in RunFolder.open(path).records()] == list(range(2*max(saved, default=0)))
        assert in_child(count_on, path, rounds, None) == 0
        assert [r['number'] for r in RunFolder.open(path).records()] == list(range(2*rounds))
        assert checkpoint(path/'checkpoint.pt')['state']['rounds'] == rounds
        assert not list(path.glob('.*.tmp'))
        if ended == 0: break
    assert n > rounds
    (folder/'places').write_text(str(n - 1))


@pytest.mark.parametrize('where', ['half write', 'replace', 'fsync', 'log'])
def test_killed_at_every_place_of_a_checkpoint(where, long, tmp_path):
    assert run_function(killed_at_every_place, tmp_path, where, 10 if long else 2) == 0
    assert int((tmp_path/'places').read_text()) >= 2


# SIGTERM and Ctrl-C.

def stopped(path, folder, kill, sign, threads=1):
    "Start a job and stop it at a moment; assert that it says how to continue, and return where it was."
    running = Running(go_on(path), folder/'process', kill=kill, sign=sign, snapshots=folder/'snapshots', threads=threads)
    code, name = running.wait(), signal.Signals(sign).name
    assert code == 128 + sign, (code, running.err)
    assert running.out == ''
    said = f'autogan_search: stopped by {name}, everything is saved: continue with autogan_search --resume {path}'
    assert running.err.splitlines()[-1] == said
    assert 'Traceback' not in running.err
    assert not list(path.glob('.*.tmp'))
    return running.where


STOPS = [('shared GAN', 2, .05), ('controller', 2, .01), ('growth', 1, 0), ('reward in ranking', 2, 0), ('steps', 3, .0),
         ('evaluation', 5, .01), ('checkpoint', 12, 0)]


@pytest.mark.parametrize('sign', [signal.SIGTERM, signal.SIGINT], ids=['SIGTERM', 'SIGINT'])
def test_stopped_by_a_signal_it_ends_the_same(sign, whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    for kill in STOPS[sign == signal.SIGINT::2]: stopped(path, tmp_path, kill, sign)
    code, out, err = run(go_on(path), tmp_path/'process', snapshots=tmp_path/'snapshots')
    assert (code, err) == (0, ''), err
    same = compare(path, whole.path, tmp_path/'snapshots', whole.snapshots)
    assert same['checkpoints'] > 20, same


def test_stopped_and_killed_at_random_moments(whole, long, tmp_path):
    if not long: pytest.skip('with --long')
    rng, rows = random.Random(time.time_ns()), []
    for i, phase in enumerate(MOMENTS):
        path, folder, fell = make_run(tmp_path/str(i)/'run', tiny(whole.data)), tmp_path/str(i), []
        for kill in [random_kill(rng, phase), random_kill(rng), random_kill(rng)]:
            sign = rng.choice([signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
            running = Running(go_on(path), folder/'process', kill=kill, sign=sign, snapshots=folder/'snapshots')
            code = running.wait()
            assert code in (0, 128 + sign, -signal.SIGKILL) and 'Traceback' not in running.err, (code, running.err)
            if code: fell.append(f'{signal.Signals(sign).name} > {kill[0]}{running.where}')
        code, _, err = run(go_on(path), folder/'process', snapshots=folder/'snapshots')
        assert (code, err) == (0, ''), (fell, err)
        rows.append(dict(fell=fell, **compare(path, whole.path, folder/'snapshots', whole.snapshots)))
        shutil.rmtree(folder)
        write_results('stops', in_all(rows))


@pytest.mark.parametrize('sign', [signal.SIGTERM, signal.SIGINT], ids=['SIGTERM', 'SIGINT'])
def test_stopped_before_it_has_begun(sign, whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    running = Running(go_on(path), tmp_path/'process', kill=('preparation', 1, 0), sign=sign)
    assert running.wait() in (128 + sign, -sign) and 'Traceback' not in running.err, running.err


def test_a_stop_in_the_middle_of_a_ranking_changes_nothing(whole, monkeypatch):
    "Here, ranked candidates get better rewards than any that the controller was trained with; its best must not be one of them."
    config, data = replace(SEARCH, iterations=2, grow_after=(1,), epochs=.2), open_data(whole.data, size=16, channels=1)
    stops, made = [], []
    class Stop(BaseException): pass
    def reward(self, arch):
        search = next(search for search in made if search.task is self)
        ranking = len(search.now.rows) == config.controller_steps
        if ranking and stops and stops.pop() == 'stop': raise Stop
        return 2. if ranking else 1.
    monkeypatch.setattr(SharedGAN, 'reward', reward)
    def new():
        made.append(make_search(data, None, config, GAN, 0))
        return made[-1]
    alone, stopped = new(), new()
    expected = alone.step()
    stops[:] = ['stop', 'not yet', 'not yet']
    with pytest.raises(Stop): stopped.step()
    resumed = new()
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.step() == expected
    assert differences(resumed.state(), alone.state())[2] == []


def test_a_stop_is_saved_in_the_middle_of_an_iteration(whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    stopped(path, tmp_path, ('cycle', 5, 0), signal.SIGTERM)   # in the first iteration, before the first regular checkpoint
    assert (path/'checkpoint.pt').exists()
    resumed = Running(go_on(path), tmp_path/'process', kill=('cycle', 1, 0))
    assert resumed.wait() == -signal.SIGKILL
    assert int(re.search(r'step (\d+)', resumed.where)[1]) >= 4, resumed.where          # those steps are not repeated


def test_a_second_signal_ends_at_once(whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data, search=replace(SEARCH, iterations=200, grow_after=(100,), epochs=100.)))
    running = Running(go_on(path), tmp_path/'process', kill=('cycle', 3, 0), sign=[signal.SIGTERM]*2, slow='cycle')
    start = time.monotonic()
    assert running.wait(30) in (143, -signal.SIGTERM), running.err
    assert 'Traceback' not in running.err
    assert time.monotonic() - start < 20


def test_stopped_while_contenders_train_side_by_side(tmp_path, whole):
    small = tiny(whole.data, search=replace(SEARCH, iterations=1, grow_after=(), reset_window=100), size=8)
    alone = make_run(tmp_path/'alone', small)
    assert run(go_on(alone), tmp_path/'process', threads=2, snapshots=tmp_path/'whole')[0] == 0
    path = make_run(tmp_path/'run', small)
    for kill in (('steps', 6, .0), ('evaluation', 2, .01)): stopped(path, tmp_path, kill, signal.SIGTERM, threads=2)
    killed = Running(go_on(path), tmp_path/'process', kill=('steps', 8, .01), snapshots=tmp_path/'snapshots', threads=2)
    assert killed.wait() == -signal.SIGKILL
    code, _, err = run(go_on(path), tmp_path/'process', threads=2, snapshots=tmp_path/'snapshots')
    assert (code, err) == (0, ''), err
    compare(path, alone, tmp_path/'snapshots', snapshots(tmp_path/'whole'))


def test_a_single_training_is_stopped_and_killed(whole, tmp_path):
    train = 'autogan_train --resume {} -q --no-report --device cpu'
    arch = 'pre-none-nearest-sc,post-batch-deconv-s0'
    alone = make_run(tmp_path/'alone', tiny(whole.data), arch=arch)
    assert run(train.format(alone).split(), tmp_path/'process', snapshots=tmp_path/'whole')[0] == 0
    path = make_run(tmp_path/'run', tiny(whole.data), arch=arch)
    stop = Running(train.format(path).split(), tmp_path/'process', kill=('steps', 4, 0), sign=signal.SIGTERM,
                   snapshots=tmp_path/'snapshots')
    assert stop.wait() == 143
    said = f'autogan_train: stopped by SIGTERM, everything is saved: continue with autogan_train --resume {path}'
    assert stop.err.splitlines()[-1] == said
    killed = Running(train.format(path).split(), tmp_path/'process', kill=('evaluation', 2, .005), snapshots=tmp_path/'snapshots')
    assert killed.wait() == -signal.SIGKILL
    assert run(train.format(path).split(), tmp_path/'process', snapshots=tmp_path/'snapshots')[0] == 0
    compare(path, alone, tmp_path/'snapshots', snapshots(tmp_path/'whole'))


def test_killed_while_it_goes_on_for_longer(whole, tmp_path):
    "Whoever is killed before its first new checkpoint knows the new length from config.json, and ends like a run that wasn't."
    train, longer = 'autogan_train --resume {} -q --no-report --device cpu', ['--steps', '30']
    path = make_run(tmp_path/'run', tiny(whole.data), arch='pre-none-nearest-sc,post-batch-deconv-s0')
    assert run(train.format(path).split(), tmp_path/'process')[0] == 0
    alone = Path(shutil.copytree(path, tmp_path/'alone'))
    assert run(train.format(alone).split() + longer, tmp_path/'process')[0] == 0
    for kill, words in (('preparation', 1, 0), longer), (('cycle', 1, 0), longer), (('steps', 3, 0), []):
        killed = Running(train.format(path).split() + words, tmp_path/'process', kill=kill)
        assert killed.wait() == -signal.SIGKILL, killed.err
        assert not (path/'scores.json').exists() or kill[0] == 'preparation'
    assert run(train.format(path).split(), tmp_path/'process')[0] == 0
    compare(path, alone)
    assert [r['step'] for r in RunFolder.open(path).records('train')] == list(range(1, 31))
    assert len(RunFolder.open(path).records('continued')) == 1


def test_killed_before_the_start_is_copied(whole, tmp_path):
    "A training that starts from trained networks needs their files until its first checkpoint, and no longer."
    train, arch = 'autogan_train --resume {} -q --no-report --device cpu', 'pre-none-nearest-sc,post-batch-deconv-s0'
    source = make_run(tmp_path/'source', tiny(whole.data), arch=arch)
    assert run(train.format(source).split(), tmp_path/'process')[0] == 0
    files = dict(G=str(source/'generator.safetensors'), D=str(source/'discriminators'/'trained.safetensors'))
    path, alone = (make_run(tmp_path/name, tiny(whole.data), arch=arch, **{'from': files}) for name in ('run', 'alone'))
    assert run(train.format(alone).split(), tmp_path/'process')[0] == 0
    killed = Running(train.format(path).split(), tmp_path/'process', kill=('checkpoint', 1, 0))
    assert killed.wait() == -signal.SIGKILL
    killed = Running(train.format(path).split(), tmp_path/'process', kill=('cycle', 1, 0))
    assert killed.wait() == -signal.SIGKILL
    shutil.rmtree(source)
    assert run(train.format(path).split(), tmp_path/'process')[0] == 0
    compare(path, alone)


def test_the_comparison_sees_one_bit(whole):
    box = checkpoint(whole.path/'checkpoint.pt')
    searching = next(box for box in whole.snapshots.values() if box['state'].get('search'))
    assert differences(box, box)[2] == [] and differences(searching, searching)[2] == []
    other = copy.deepcopy(searching)
    weights = other['state']['search']['loop']['task']['trainer']['G']
    name = next(name for name, value in weights.items() if value.dtype.is_floating_point and value.numel())
    weights[name].view(-1)[0] = weights[name].view(-1)[0].nextafter(weights[name].new_tensor(9.))
    assert differences(searching, other)[2] == [f'/state/search/loop/task/trainer/G/{name}']
    del other['state']['search']['loop']['rng']
    assert '/state/search/loop/rng' in differences(searching, other)[2]

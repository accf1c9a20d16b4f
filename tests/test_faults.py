"Test broken checkpoints, full and read-only disks, two processes on one run, NaN and infinity: one sentence, nothing lost."
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import time
import warnings
from functools import partial

import pytest

import faults
from survival import Running, checkpoint, compare, differences, limit_files, make_run, run, start_function, tiny, write_results
from autogan_nb.practice.runs import RunFolder

ARCH = 'pre-none-nearest-sc,post-batch-deconv-s0'


def go_on(path): return f'autogan_search --resume {path} -q --no-report --device cpu'.split()


def one_sentence(code, out, err, *named):
    "Assert that a mistake was foreseen: exit code 2, no standard output, one line on standard error that names it; return this line."
    lines = [line for line in err.splitlines() if ': warning: ' not in line]
    assert (code, out, len(lines)) == (2, '', 1), (code, out, err)
    assert lines[0].startswith('autogan_search: ') and 'Traceback' not in err
    for word in named: assert re.search(word, lines[0]), (word, lines[0])
    return lines[0]


def ends_like(path, whole, folder):
    "Continue a run to its end, assert that it ends like the uninterrupted one, and return its standard error."
    code, _, err = run(go_on(path), folder/'last')
    assert code == 0, err
    compare(path, whole.path)
    return err


@pytest.fixture(scope='module')
def killed(whole, tmp_path_factory):
    "Return a job that was killed in its second training, for tests to copy."
    folder = tmp_path_factory.mktemp('killed')
    path = make_run(folder/'run', tiny(whole.data))
    assert Running(go_on(path), folder/'process', kill=('steps', 33, 0)).wait() == -signal.SIGKILL
    return path


@pytest.fixture
def half(killed, tmp_path): return shutil.copytree(killed, tmp_path/'run')


# Broken checkpoints.

def truncated(data): return data[:len(data)*2//3]
def one_bit(data): return data[:len(data)//2] + bytes([data[len(data)//2] ^ 16]) + data[len(data)//2 + 1:]
def empty(data): return b''
def not_there(data): return None


@pytest.mark.parametrize('damage', [truncated, one_bit, empty])
def test_a_broken_checkpoint_is_named_and_the_one_before_is_used(damage, half, whole, tmp_path):
    newest = half/'checkpoint.pt'
    broken = damage(newest.read_bytes())
    newest.write_bytes(broken)
    err = ends_like(half, whole, tmp_path)
    assert len(err.splitlines()) == 1 and err.startswith('autogan_search: warning: ') and 'checkpoint.pt' in err, err
    assert (half/'checkpoint.unreadable.pt').read_bytes() == broken


def test_both_checkpoints_broken(half, tmp_path):
    for name in ('checkpoint.pt', 'checkpoint.prev.pt'): (half/name).write_bytes(truncated((half/name).read_bytes()))
    before = {f.name: f.read_bytes() for f in half.iterdir() if f.is_file() and f.name not in ('lock', 'process.json')}
    one_sentence(*run(go_on(half), tmp_path/'process'), 'checkpoint.pt', 'checkpoint.prev.pt')
    assert {f.name: f.read_bytes() for f in half.iterdir() if f.is_file() and f.name not in ('lock', 'process.json')} == before


def test_every_bit_counts(half, long):
    whole = [checkpoint(half/name) for name in ('checkpoint.pt', 'checkpoint.prev.pt')]
    data, rng, noticed = (half/'checkpoint.pt').read_bytes(), random.Random(0), 0
    for _ in range(300 if long else 15):
        at = rng.randrange(len(data))
        (half/'checkpoint.pt').write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:])
        with pytest.warns() as caught:
            warnings.warn('so that there is one')
            state = RunFolder.open(half).load_checkpoint(resume=False)
        seen = len(caught) > 1
        assert differences(state, whole[seen]['state'])[2] == [], at      # noticed: the one before; not noticed: the bit has no effect
        noticed += seen
    assert noticed > 10


# Disks.

def test_a_disk_that_is_full(half, whole, tmp_path):
    before = (half/'checkpoint.pt').read_bytes()
    said = one_sentence(*run(go_on(half), tmp_path/'process', before=partial(limit_files, len(before)//2)))
    assert re.search('too large|space|full', said) and 'run' in said, said
    assert (half/'checkpoint.pt').read_bytes() == before and not list(half.glob('.*.tmp'))
    ends_like(half, whole, tmp_path)


def test_a_log_that_cannot_grow(half, whole, tmp_path):
    size = (half/'log.jsonl').stat().st_size
    one_sentence(*run(go_on(half), tmp_path/'process', before=partial(limit_files, size + 100)))
    ends_like(half, whole, tmp_path)


@pytest.fixture
def disk(tmp_path):
    "Return a function that mounts a small disk with the given options; skip where mounting is not allowed."
    place = tmp_path/'disk'
    place.mkdir()
    def mount(options, *first):
        done = subprocess.run(['mount', *first, '-o', options, 'none', place], capture_output=True)
        if done.returncode: pytest.skip('mounting is not allowed here')
        return place
    yield mount
    subprocess.run(['umount', '-l', place], capture_output=True)


def test_a_small_disk(half, whole, disk, tmp_path):
    used = sum(-(-f.stat().st_size // 4096)*4096 for f in half.rglob('*'))           # in whole blocks
    place = disk(f'size={used + (half/"checkpoint.pt").stat().st_size//2}', '-t', 'tmpfs')
    path = shutil.copytree(half, place/'run')
    before = (path/'checkpoint.pt').read_bytes()
    said = one_sentence(*run(go_on(path), tmp_path/'process'))
    assert re.search('space|full', said), said
    kept = [(path/name).read_bytes() for name in ('checkpoint.pt', 'checkpoint.prev.pt') if (path/name).exists()]
    assert before in kept or checkpoint(path/'checkpoint.pt')['log_length'] > checkpoint(half/'checkpoint.pt')['log_length']
    disk('remount,size=64m')
    ends_like(path, whole, tmp_path)


def test_a_folder_that_may_not_be_written(half, whole, disk, tmp_path):
    place = disk('size=32m', '-t', 'tmpfs')
    path = shutil.copytree(half, place/'run')
    disk('remount,ro')
    before = {f: f.read_bytes() for f in path.rglob('*') if f.is_file()}
    one_sentence(*run(go_on(path), tmp_path/'process'), 'run', 'ead-only|not be written|ermission')
    words = f'autogan_search --data {whole.data} --size 16 --channels 1 --extractor digits --out {place/"new"} -q'.split()
    one_sentence(*run(words, tmp_path/'process'), 'new', 'ead-only|not be written|ermission')
    assert {f: f.read_bytes() for f in path.rglob('*') if f.is_file()} == before
    disk('remount,rw')
    ends_like(path, whole, tmp_path)


# Two processes.

def test_a_run_in_use_is_left_alone_and_free_after_a_kill(whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    first = Running(go_on(path), tmp_path/'first', slow='evaluation')
    assert first.wait_for('training from scratch')
    one_sentence(*run(go_on(path), tmp_path/'second'), str(path), fr'\b{first.pid}\b')
    assert first.wait_for('evaluation')
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    third = Running(go_on(path), tmp_path/'third', slow='last measurement')
    assert third.wait_for('training from scratch'), third.err
    one_sentence(*run(go_on(path), tmp_path/'second'), str(path), fr'\b{third.pid}\b')
    assert third.wait() == 0, third.err
    compare(path, whole.path)


def hold(path, seconds):
    run = RunFolder.open(path).claim()
    time.sleep(seconds)
    run.close()


def test_another_container_with_the_same_process_number(tmp_path):
    "Containers that share a folder each count processes from 1, so the number alone does not say which process has a run."
    run = RunFolder.create(tmp_path/'run', {})
    path = run.path
    run.close()
    holder = start_function(hold, path, 60)
    while 'process' not in (known := json.loads((path/'process.json').read_text())) or known['process'] != holder.pid: time.sleep(.02)
    (path/'process.json').write_text(json.dumps(known | dict(process=os.getpid())))
    try:
        with pytest.raises(BlockingIOError, match='in use'): RunFolder.open(path).claim()
    finally: holder.kill()


def test_half_written_pictures_of_a_killed_process_go(tmp_path):
    run = RunFolder.create(tmp_path/'run', {})
    for place in ('.config.json.1.tmp', 'samples/.final.png.1.tmp'):
        (run.path/place).parent.mkdir(exist_ok=True)
        (run.path/place).write_bytes(b'half')
    run.load_checkpoint()
    assert not list(run.path.rglob('*.tmp'))
    run.close()


# NaN and infinity.

def faults_of(path): return RunFolder.open(path).records('fault')


def search_only(path, folder, **options):
    "Run the search of a job and kill the job when the search is done; return the search's records."
    running = Running(go_on(path), folder/'process', kill=('derivation', 1, 0), **options)
    assert running.wait() == -signal.SIGKILL, running.err
    return RunFolder.open(path).records('search')


def train(path): return f'autogan_train --resume {path} -q --no-report --device cpu'.split()


def assert_one_fault(path, **where):
    record, = faults_of(path)
    assert re.search('NaN|infinite', record['what']) and record['seed'] == 0 and (record.get('arch') or record.get('archs')), record
    assert {name: record.get(name) for name in where} == where, record            # the step in which it happened, not a later one


@pytest.mark.parametrize('what, at, where', [('loss of the generator', 13, dict(iteration=2, step=0)),
                                             ('loss of the discriminator', 22, dict(iteration=1, step=2)),
                                             ('gradient', 10, dict(iteration=1, step=1)), ('reward', 7, {})])
def test_a_number_that_is_none_costs_a_search_a_few_steps(what, at, where, whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    records = search_only(path, tmp_path, before=partial(faults.poison, what, 'search', at, 1))
    assert [r['iteration'] for r in records] == list(range(6))
    assert all(math.isfinite(r[key]) for r in records for key in ('d_loss', 'g_loss', 'reward', 'best_reward', 'entropy'))
    assert_one_fault(path, **where)


@pytest.mark.parametrize('what', ['loss of the generator', 'loss of the discriminator', 'gradient'])
def test_a_number_that_is_none_costs_a_training_a_few_steps(what, whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data), arch=ARCH)
    code, _, err = run(train(path), tmp_path/'process', before=partial(faults.poison, what, 'train', 8, 1))
    assert code == 0, err
    records = RunFolder.open(path).records('train')
    assert [r['step'] for r in records] == list(range(1, 21)) and all(math.isfinite(r['d_loss'] + r['g_loss']) for r in records)
    assert_one_fault(path, step=7)


@pytest.mark.parametrize('what', ['loss of the generator', 'reward'])
def test_numbers_that_never_come_right_end_a_search(what, whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    one_sentence(*run(go_on(path), tmp_path/'process', before=partial(faults.poison, what, 'search', 13, 10**6)), 'NaN|finite')
    assert 1 <= len(faults_of(path)) <= 4
    assert [r['iteration'] for r in search_only(path, tmp_path)] == list(range(6))          # once the fault is gone, it continues


def test_numbers_that_never_come_right_end_a_training(whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data), arch=ARCH)
    code, out, err = run(train(path), tmp_path/'process', before=partial(faults.poison, 'gradient', 'train', 8, 10**6))
    assert (code, out, len(err.splitlines())) == (2, '', 1) and re.search('NaN|finite', err), err
    assert run(train(path), tmp_path/'process')[0] == 0


def test_a_fault_and_a_kill(whole, tmp_path):
    "A run with a fault can be continued like any other."
    paths = [make_run(tmp_path/name, tiny(whole.data)) for name in ('once', 'twice')]
    poison = partial(faults.poison, 'loss of the generator', 'search', 3, 1)
    first = search_only(paths[0], tmp_path, before=poison)
    killed = Running(go_on(paths[1]), tmp_path/'process', before=poison, kill=('controller', 3, .01))
    assert killed.wait() == -signal.SIGKILL and len(faults_of(paths[1])) == 1
    assert search_only(paths[1], tmp_path) == first
    assert faults_of(paths[0]) == faults_of(paths[1])
    assert differences(*(checkpoint(path/'checkpoint.pt')['state'] for path in paths))[2] == []


def test_a_child_that_draws_only_black_gets_its_honest_reward(whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    records = search_only(path, tmp_path, before=faults.black)
    assert [r['best_reward'] for r in records] == pytest.approx([1.]*6, abs=1e-6)
    assert faults_of(path) == []


# Determinism.

def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(whole, tmp_path):
    for seed in (0, 1):
        path = make_run(tmp_path/str(seed), tiny(whole.data), seed=seed)
        search_only(path, tmp_path)
        start, whole_log = (path/'log.jsonl').read_bytes(), (whole.path/'log.jsonl').read_bytes()
        assert whole_log.startswith(start) == (seed == 0) and start.count(b'\n') == 6


def test_threads(whole, long, tmp_path):
    "Other numbers of threads may round differently, which is recorded but not asserted."
    if not long: pytest.skip('with --long')
    equal = {}
    for threads in (1, 2, 4):
        logs = []
        for i in range(2):
            path = make_run(tmp_path/f'{threads}-{i}', tiny(whole.data))
            assert run(go_on(path), tmp_path/'process', threads=threads)[0] == 0
            logs.append((path/'log.jsonl').read_bytes())
        assert logs[0] == logs[1], f'two runs with {threads} threads differ'
        equal[threads] = logs[0] == (whole.path/'log.jsonl').read_bytes()
    write_results('threads', dict(equal_to_one_thread=equal, each_repeats_itself=True))


# Long runs, in a short version. `python tests/long_runs.py` measures 5,000 steps of each.

@pytest.mark.parametrize('kind', ['search', 'training'])
def test_files_and_memory_do_not_grow(kind, tmp_path):
    import long_runs
    found = long_runs.measure(kind, tmp_path, 250)
    assert found['steps'] >= 250
    assert found['open_files_at_the_end'] <= found['open_files_after_warm_up'], found
    assert found['mb_per_1000_steps'] < 30, found            # leaking a generator's weights in each step would give about 100

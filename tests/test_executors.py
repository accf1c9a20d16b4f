"Test jobs whose work is done by worker processes or a Ray cluster: same result, whatever is killed; one sentence for what is missing."
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from autogan_nb.files import load_weights
from autogan_nb.parallel.executors import Inline
from autogan_nb.parallel.units import JobFacts, NodeError, Unit, do_unit
from survival import write_results

TINY = '''--preset paper-digits --size 8 --g-width 8 --d-width 8 --steps 120 --eval-images 200 --reward-images 100 --candidates 4
 --finalists 1 --top-k 4 --iterations 1 --epochs .1 --controller-steps 2 --rungs 1/4,1/2 --set final_gan.d_batch=16
 --set final_gan.g_batch=16
 --set train.eval_every=20'''.split()
COMMAND = [sys.executable, '-m', 'autogan_nb.cli', 'search']


def start(folder, *words):
    "Start the command in a folder of its own, in a session of its own."
    env = os.environ | dict(OMP_NUM_THREADS='1', RAY_USAGE_STATS_ENABLED='0')
    return subprocess.Popen([*COMMAND, *words, '--quiet', '--no-report'], cwd=folder, env=env, start_new_session=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process):
    "Wait for a command; return its exit code and what it said."
    out, err = process.communicate(timeout=280)
    return process.returncode, out, err


def fine(process):
    code, out, err = ended(process)
    assert code == 0, err
    return out


def result(run):
    "What must not depend on who did the work."
    weights = {file.name: load_weights(file)[0] for file in sorted((run/'generators').glob('*.safetensors'))}
    bits = {(file, name): tensor.numpy().tobytes() for file, its in weights.items() for name, tensor in its.items()}
    files = sorted(str(path.relative_to(run)) for path in run.rglob('*.*') if 'tfevents' not in path.name and 'prev' not in path.name)
    return sorted((run/'log.jsonl').read_text().splitlines()), (run/'architectures.json').read_text(), bits, files


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "The same job without an executor."
    folder = tmp_path_factory.mktemp('whole')
    fine(start(folder, *TINY, '--out', 'run'))
    return result(folder/'run')


def processes(process):
    "List the workers of a command."
    found = []
    for path in Path('/proc').glob('[0-9]*'):
        try: stat, words = (path/'stat').read_text(), (path/'cmdline').read_text()
        except OSError: continue
        if int(stat.rpartition(')')[2].split()[1]) == process.pid and 'spawn_main' in words: found.append(int(path.name))
    return found


def trained(run):
    "Count the records of trainings in a run and its units."
    return sum(log.read_text().count('"kind": "train"') + log.read_text().count('"kind":"train"') for log in run.rglob('log.jsonl'))


def wait_for(ready, process, seconds=200):
    "Wait until something is so, or the command has ended."
    until = time.monotonic() + seconds
    while not ready() and process.poll() is None:
        assert time.monotonic() < until, 'it never was'
        time.sleep(.02)


def gone(pids):
    "Wait until none of these processes is left."
    until = time.monotonic() + 20
    while alive := [pid for pid in pids if os.path.exists(f'/proc/{pid}')]:
        assert time.monotonic() < until, f'{alive} live on'
        time.sleep(.05)


def test_two_processes_and_what_kills_them(whole, tmp_path):
    process, run = start(tmp_path, *TINY, '--out', 'run', '--executor', 'processes', '--at-once', '2'), tmp_path/'run'
    how = ('--resume', 'run', '--executor', 'processes', '--at-once', '2')
    for victim, sign in (('worker', signal.SIGKILL), ('main', signal.SIGKILL), ('main', signal.SIGINT)):
        before = trained(run)
        wait_for(lambda: trained(run) > before + 1 and len(processes(process)) == 2, process)
        assert process.poll() is None, (victim, sign, ended(process))
        workers = processes(process)
        if victim == 'worker':
            os.kill(random.choice(workers), sign)
            continue
        (os.killpg if sign == signal.SIGINT else os.kill)(process.pid, sign) # a terminal signals the whole group
        code, _, err = ended(process)
        gone(workers)
        if sign == signal.SIGKILL: assert code == -9
        else:
            said = [line for line in err.splitlines() if line]
            assert code == 128 + sign and len(said) == 2, err
            assert 'stopping after this step' in said[0] and 'continue with autogan_search --resume run' in said[1], err
        process = start(tmp_path, *how)
    fine(process)
    assert result(run) == whole


def test_other_executors_continue(whole, tmp_path):
    "A run that two processes began goes on in this process alone."
    process, run = start(tmp_path, *TINY, '--out', 'run', '--executor', 'processes', '--at-once', '2'), tmp_path/'run'
    wait_for(lambda: trained(run) > 3, process)
    process.kill()
    ended(process)
    fine(start(tmp_path, '--resume', 'run'))
    assert result(run) == whole


def killed_until_done(folder, how, strike, rng, seconds):
    "Start a job and resume it until it is done; every so many seconds, at random, `strike(process)` kills something. Return the kills."
    process, kills = start(folder, *TINY, '--out', 'run', *how), []
    while True:
        try: process.wait(rng.uniform(*seconds))
        except subprocess.TimeoutExpired: kills.append(strike(process))
        if process.poll() is None: continue
        if process.returncode == 0: return kills
        assert process.returncode == -9, ended(process)
        ended(process)
        process = start(folder, *(('--resume', 'run') if (folder/'run'/'config.json').exists() else (*TINY, '--out', 'run')), *how)


def test_twenty_kills(whole, cluster, long, tmp_path):
    "Count what is different after workers, main processes and nodes were killed at random moments."
    if not long: pytest.skip('with --long')
    rng, found = random.Random(0), []
    def kill_local(process):
        workers = processes(process)
        victim = rng.choice(['worker', 'main']) if workers else 'main'
        os.kill(rng.choice(workers) if victim == 'worker' else process.pid, signal.SIGKILL)
        if victim == 'main': gone(workers)
        return victim
    def kill_in_cluster(process):
        victim = rng.choice(['node', 'driver'])
        if victim == 'driver': process.kill()
        else:
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.second = cluster.add_node(num_cpus=1)
        return victim
    for how, strike, seconds in ((('--executor', 'processes', '--at-once', '2'), kill_local, (2, 8)),
                                 (('--executor', 'ray', '--address', cluster.address), kill_in_cluster, (5, 15))):
        kills = []
        while len(kills) < 10:
            folder = tmp_path/f'{strike.__name__}-{len(found)}'
            folder.mkdir()
            kills += (now := killed_until_done(folder, how, strike, rng, seconds))
            found.append(dict(executor=how[1], kills=now, same=result(folder/'run') == whole))
            victims = [kill for run in found for kill in run['kills']]
            counts = {victim: victims.count(victim) for victim in dict.fromkeys(victims)}
            different = sum(not run['same'] for run in found)
            write_results('workers', dict(runs=len(found), kills=len(victims), victims=counts, different=different, each=found))
    assert all(run['same'] for run in found), found


@pytest.fixture
def cluster(monkeypatch):
    "A Ray cluster of two nodes, as far as processes on one machine can be one."
    pytest.importorskip('ray')
    from ray.cluster_utils import Cluster
    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    folder = tempfile.mkdtemp(prefix='ray-') # a short path, because it will hold sockets
    made = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, include_dashboard=False, temp_dir=folder))
    made.second = made.add_node(num_cpus=1)
    yield made
    made.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_that_loses_a_node_and_its_driver(whole, cluster, tmp_path):
    run, how = tmp_path/'run', ('--executor', 'ray', '--address', cluster.address)
    process = start(tmp_path, *TINY, '--out', 'run', *how)
    wait_for(lambda: trained(run) > 1, process)
    cluster.remove_node(cluster.second, allow_graceful=False)
    before = trained(run)
    wait_for(lambda: trained(run) > before + 2, process)
    assert process.poll() is None, ended(process)
    process.kill()
    ended(process)
    cluster.add_node(num_cpus=1)
    process = start(tmp_path, '--resume', 'run', *how)
    before = trained(run)
    wait_for(lambda: trained(run) > before + 1, process)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 143 and 'everything is saved: continue with autogan_search --resume run' in err, (code, err)
    fine(start(tmp_path, '--resume', 'run', *how))
    assert result(run) == whole


def test_what_is_missing_on_a_node(tmp_path, monkeypatch):
    facts = dict(path=str(tmp_path), token='', config={}, device='cpu', evaluator=b'')
    unit, name = Unit('part', 'room.module:function'), re.escape(os.uname().nodename)
    for change, said in ((dict(version='0.0.1'), f'{name} has autogan_nb .*, but the job was started with 0.0.1'),
                         (dict(place='/no/such/folder'), f'/no/such/folder is not there on {name}'),
                         (dict(device='cuda'), f'{name} has no GPU that PyTorch can use')):
        monkeypatch.setattr('torch.cuda.is_available', lambda: False)
        with pytest.raises(NodeError, match=said): list(Inline().run(do_unit, [unit], JobFacts(**facts | change)))


def test_a_full_disk_on_a_node(tmp_path, monkeypatch):
    "The worker's own folder cannot be written."
    place = tmp_path/'small'
    place.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4k', 'none', place]
    if subprocess.run(mount, capture_output=True).returncode: pytest.skip('mounting is not allowed here')
    try:
        monkeypatch.setattr('tempfile.tempdir', str(place))
        facts = JobFacts(str(tmp_path/'elsewhere'), 'token', dict(preset={}, seed=0), 'cpu', b'')
        with pytest.raises(NodeError, match=rf'No space left on device.* on {os.uname().nodename}'):
            do_unit(facts, Unit('part', 'room.module:function', files={'rungs/0.pt': bytes(100_000)}))
    finally: subprocess.run(['umount', '-l', place], capture_output=True)


@pytest.mark.parametrize('function', ['nap', 'own'])
def test_a_script_without_a_guard(tmp_path, function):
    "Workers don't run it again, unless its own functions are the work."
    (tmp_path/'script.py').write_text(f'''
from autogan_nb.parallel.executors import Processes, nap
def own(shared, seconds): return nap(shared, seconds)
if {function == 'nap'} or __name__ == '__main__':
    print(len(list(Processes(2).run({function}, [0., 0., 0.]))))
''')
    done = subprocess.run([sys.executable, 'script.py'], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, '3\n'), done.stderr


@pytest.mark.parametrize('words, said', [(['--executor', 'foo'], "unknown executor 'foo'"),
                                         (['--executor', 'processes', '--at-once', '0'], 'at-once is 0'),
                                         (['--executor', 'ray', '--address', '127.0.0.1:9'], "there is no Ray cluster at '127.0.0.1:9'")])
def test_mistakes(tmp_path, words, said):
    if 'ray' in words: pytest.importorskip('ray')
    code, out, err = ended(start(tmp_path, *TINY, '--out', 'run', *words))
    assert (code, out, len(err.splitlines())) == (2, '', 1) and said in err, err
    assert not (tmp_path/'run').exists()

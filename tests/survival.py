"A tiny job that can be killed anywhere: its settings, processes that kill themselves at a chosen moment, comparisons bit by bit."
import atexit
import itertools
import json
import os
import resource
import signal
import struct
import sys
import threading
import time
from dataclasses import replace
from functools import wraps
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import autogan_nb.files as files
import autogan_nb.practice.runs as runs
from autogan_nb import cli
from autogan_nb.practice import jobs, trainings
from autogan_nb.practice.jobs import new_run
from autogan_nb.practice.presets import Preset
from autogan_nb.practice.runs import RunFolder
from autogan_nb.data.images import digits
from autogan_nb.gan.configs import GANConfig, SearchConfig, TrainConfig
from autogan_nb.gan.training import GANTrainer
from autogan_nb.search.derive import FinalTraining
from autogan_nb.metrics.evaluator import Evaluator
from autogan_nb.search.dynamic_reset import SharedGAN
from autogan_nb.search.search import Search

GAN = GANConfig(g_width=8, d_width=8, latent_dim=16, d_batch=16, g_batch=16, n_critic=2, g_lr=1e-3, d_lr=1e-3, ema_decay=.9)
# Eight cycles per iteration; a window of 12 is full (and flat, whatever the losses) in the 2nd and 5th iteration: one reset per stage.
SEARCH = SearchConfig(iterations=6, grow_after=(3,), epochs=1., controller_steps=3, controller_batch=2, candidates=4, top_k=2,
                      reward_images=40, hidden=16, reset_window=12, reset_threshold=1e9, check_every=2)
TRAIN = TrainConfig(steps=20, decay_lr=True, finalists=1, eval_every=5, eval_images=100, splits=2)         # a checkpoint after every step
RESULTS = Path(__file__).parent.parent/'nbs/results/survival.json'


def write_data(folder):
    "Write 256 digits of 16x16 pixels to a data file; return its path."
    file = Path(folder)/'digits.npz'
    np.savez(file, images=digits(16).images[::20, 0][:256].numpy())
    return file


def tiny(data, search=SEARCH, train=TRAIN, gan=GAN, size=16):
    "Return the settings of a job that takes seconds: a growth, a reset in each stage, two trainings with evaluations and decaying rates."
    final_gan = replace(gan, n_critic=1, loss='nonsaturating')
    return Preset(str(data), size, 1, extractor='digits', search=search, search_gan=gan, final_gan=final_gan, train=train)


def make_run(folder, preset, seed=0, **more):
    "Make a run folder in which nothing has been done yet; return its path."
    new_run(folder, preset, seed, **more).close()
    return Path(folder)


# Processes. They are forked from a server that has imported everything and computed nothing, so they start at once.

_context = get_context('forkserver')
_context.set_forkserver_preload(['autogan_nb.cli', 'matplotlib.pyplot', 'torch.utils.tensorboard', 'torchvision.transforms.v2.functional'])


class Running:
    "Run a command in a process of its own and store its output."
    def __init__(self,
        words,          # the command and its arguments
        folder,         # where it runs, and where its output and its journal go
        kill=None,      # (phase, n, seconds): when to kill itself, so many seconds after it enters the phase for the n-th time
        sign=signal.SIGKILL,  # the signal to send itself; several are sent a second apart
        snapshots=None, # the folder in which to keep every checkpoint
        threads=1,
        before=None,    # called in the process before anything else
        slow=None,      # a phase that is made to take a second longer each time
    ):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in ('out', 'err', 'journal'): (self.folder/file).write_bytes(b'')
        words = [str(word) for word in words]
        args = words, str(self.folder), kill, sign, snapshots and str(snapshots), threads, before, slow
        self.process = _context.Process(target=_child, args=args)
        self.process.start()
        self.pid = self.process.pid

    def wait(self, timeout=280):
        "Wait for the end; return the exit code, or minus the signal's number if a signal ended the process."
        self.process.join(timeout)
        if self.process.exitcode is None: self.process.kill(); raise TimeoutError(f'still running after {timeout} s: {self.where}')
        return self.process.exitcode

    @property
    def out(self): return (self.folder/'out').read_text()
    @property
    def err(self): return (self.folder/'err').read_text()
    @property
    def where(self): return (self.folder/'journal').read_text().strip()         # what it was doing at its last sign of life

    def wait_for(self, phase, timeout=60):
        "Wait until the process enters a phase; return False if it ended before."
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.is_alive():
            if phase in self.where: return True
            time.sleep(.005)
        return phase in self.where


def run(words, folder, **options):
    "Run a command to its end; return exit code, standard output and standard error."
    running = Running(words, folder, **options)
    return running.wait(), running.out, running.err


def _child(words, folder, kill, sign, snapshots, threads, before, slow):
    "Prepare the new process, then do what the shell would do."
    os.chdir(folder)
    for number, name in ((1, 'out'), (2, 'err')):
        file = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
    sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', buffering=1, closefd=False)
    journal = os.open('journal', os.O_WRONLY)
    torch.set_num_threads(threads)
    tqdm.set_lock(threading.RLock())                # tqdm's own lock between processes would outlive a kill
    if before: before()
    watch(journal, kill, sign, slow)
    if kill and kill[0] == 'half write': kill_here(*kill[:2])
    if snapshots: keep_snapshots(Path(snapshots))
    signal.signal(signal.SIGINT, signal.default_int_handler)    # as in a terminal: a suite that runs in the background ignores it
    sys.argv = words
    try: getattr(cli, words[0]).shell()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()


def start_function(func, *args):
    "Start a function in a process of its own; return the process."
    process = _context.Process(target=func, args=args)
    process.start()
    return process


def run_function(func, *args):
    "Call a function in a process of its own; return the exit code."
    process = start_function(func, *args)
    process.join()
    return process.exitcode


def in_child(func, *args):
    "Call a function in a fork of this process; return the exit code."
    pid = os.fork()
    if pid: return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try: func(*args)
    except BaseException: os._exit(1)
    os._exit(0)


class _HalfFile:
    "A file that writes half of what it is given, then kills the process."
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *_): self.file.close()
    def write(self, data):
        self.file.write(data[:len(data)//2])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def kill_here(where, n):
    "Make the process die in the middle of the n-th file it writes, or just before the n-th rename, flush to disk or log line."
    count, open_ = itertools.count(1), open
    def dies(func):
        def inner(*args, **kwargs):
            if next(count) == n: os.kill(os.getpid(), signal.SIGKILL)
            return func(*args, **kwargs)
        return inner
    def half(path, mode='r', *args, **kwargs):
        file = open_(path, mode, *args, **kwargs)
        return _HalfFile(file) if 'w' in mode and next(count) == n else file
    if where == 'half write': files.open = half
    elif where == 'log': RunFolder.log = dies(RunFolder.log)
    else: setattr(os, where, dies(getattr(os, where)))


def limit_files(size):
    "Let no file grow beyond `size` bytes, as on a full disk."
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


PHASES = {
    'preparation': (jobs, 'prepare'), 'iteration': (Search, '_iterate'), 'training from scratch': (trainings, 'train_group'),
    'shared GAN': (SharedGAN, 'train'), 'controller': (Search, '_learn'), 'growth': (SharedGAN, 'grow'), 'reset': (SharedGAN, 'reset'),
    'ranking': (Search, 'rank'), 'derivation': (trainings, 'plot_search'), 'steps': (FinalTraining, 'advance'),
    'evaluation': (trainings, '_measured'), 'last measurement': (trainings, '_save_trained'), 'checkpoint': (RunFolder, 'save_checkpoint'),
    'end': (trainings, 'finish'), 'cycle': (GANTrainer, 'cycle'), 'reward': (Evaluator, 'reward'),
    'write': (files, 'write_atomic'), 'replace': (os, 'replace'), 'fsync': (os, 'fsync')}


def watch(journal, kill, sign, slow):
    "Record what the process does, and send it a signal at the chosen moment."
    doing, counts, place, lock = [], dict.fromkeys([*PHASES, 'reward in ranking'], 0), {}, threading.Lock()

    def tell():
        text = ' > '.join(doing) + ''.join(f', {name} {value}' for name, value in place.items())
        os.pwrite(journal, text.encode().ljust(200)[:200], 0)

    def shoot(seconds):
        time.sleep(seconds)
        for one in sign if isinstance(sign, (list, tuple)) else [sign]:
            os.kill(os.getpid(), one)
            time.sleep(1)

    def entered(phase, this):
        if phase == 'reward' and 'ranking' in doing: phase = 'reward in ranking'
        counts[phase] += 1
        if isinstance(this, Search): place.update(iteration=this.iteration, size=this.task.size)
        if isinstance(this, FinalTraining): place.pop('iteration', None), place.pop('size', None)
        if isinstance(this, GANTrainer): place.update(step=this.steps)
        if phase not in ('cycle', 'reward', 'reward in ranking', 'replace', 'fsync', 'write'): doing.append(phase)
        tell()
        if phase == slow: time.sleep(1)
        if not kill or kill[0] != phase or counts[phase] != kill[1]: return
        if kill[2] <= 0 and sign == signal.SIGKILL: os.kill(os.getpid(), signal.SIGKILL)
        threading.Thread(target=shoot, args=(kill[2],), daemon=True).start()

    def watched(phase, func):
        @wraps(func)
        def inner(*args, **kwargs):
            with lock: entered(phase, args[0] if args else None)
            try: return func(*args, **kwargs)
            finally:
                with lock:
                    if phase in doing: doing.remove(phase)
                    tell()
        return inner

    for phase, (owner, name) in PHASES.items(): setattr(owner, name, watched(phase, getattr(owner, name)))
    runs.write_atomic = files.write_atomic          # `runs` has imported the name


def keep_snapshots(folder):
    "Keep every checkpoint that is written, as a hard link, which costs nothing."
    folder.mkdir(parents=True, exist_ok=True)
    save = RunFolder.save_checkpoint
    def saved(self, state):
        save(self, state)
        os.link(self.path/'checkpoint.pt', folder/f'{len(list(folder.iterdir())):04d}-{os.getpid()}.pt')
    RunFolder.save_checkpoint = saved


# Comparisons.

def differences(a, b, at='') -> tuple:
    "Compare two states; return how many tensors and other values they hold, and the names of those that differ in any bit."
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and _bytes(a) == _bytes(b)
        return 1, 0, [] if same else [at]
    if isinstance(a, dict) and isinstance(b, dict): pairs = [(a.get(k), b.get(k), f'{at}/{k}') for k in a.keys() | b.keys()]
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        pairs = [(x, y, f'{at}/{i}') for i, (x, y) in enumerate(zip(a, b))]
    else: return 0, 1, [] if _bits(a) == _bits(b) else [at]
    found = [differences(*pair) for pair in pairs]
    return sum(f[0] for f in found), sum(f[1] for f in found), [name for f in found for name in f[2]]


def _bytes(tensor): return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b''
def _bits(value): return struct.pack('d', value) if isinstance(value, float) else (type(value), value)


def checkpoint(file): return torch.load(file, map_location='cpu', weights_only=True)


def moment(box):
    "Return a name for a checkpoint's place in the job."
    state = box['state']
    search = (state.get('search') or {}).get('loop', {})
    task, now, trained = search.get('task') or {}, search.get('now') or {}, state.get('trainings') or {}
    steps = {name: training['loop']['trainer']['steps'] for name, training in trained.items()}
    return json.dumps([box['log_length'], search.get('iteration'), bool(task.get('archs')), len(now.get('rows', ())),
                       (task.get('trainer') or {}).get('steps'), 'finalists' in state, steps, sorted(state.get('scores', {}))])


class Snapshots(dict):
    "Checkpoints by their moment."
    def __repr__(self): return f'{len(self)} checkpoints'           # pytest shows arguments; thousands of tensors would take minutes


def snapshots(folder): return Snapshots((moment(box), box) for box in map(checkpoint, sorted(Path(folder).glob('*.pt'))))


def curves(path):
    "Read TensorBoard's curves: name to points."
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    board = EventAccumulator(str(path/'tensorboard'), size_guidance=dict(scalars=0))
    board.Reload()
    return {tag: [(e.step, e.value) for e in board.Scalars(tag)] for tag in board.Tags()['scalars']}


BYTE_FOR_BYTE = ('log.jsonl', 'scores.json', 'architectures.json', 'generator.safetensors', 'generators/*', 'discriminators/*',
                 'samples/*.png', 'samples/*/*', 'search.png')


def compare(path, whole, snaps=None, whole_snaps=None, curves_too=True) -> dict:
    "Assert that two finished runs are the same to the bit; return how much was compared."
    names = {str(f.relative_to(whole)) for pattern in BYTE_FOR_BYTE for f in whole.glob(pattern)}
    assert names == {str(f.relative_to(path)) for pattern in BYTE_FOR_BYTE for f in path.glob(pattern)}
    for name in sorted(names): assert (path/name).read_bytes() == (whole/name).read_bytes(), f'{name} differs'
    if curves_too: assert curves(path) == curves(whole), 'TensorBoard curves differ'
    pairs = [(checkpoint(path/'checkpoint.pt'), checkpoint(whole/'checkpoint.pt'))]
    if snaps: pairs += [(box, whole_snaps[name]) for name, box in snapshots(snaps).items() if name in whole_snaps]
    tensors = values = 0
    for mine, theirs in pairs:
        more, others, different = differences(*({key: box[key] for key in ('state', 'log_length')} for box in (mine, theirs)))
        assert not different, f'{len(different)} values differ at {moment(theirs)}: {different[:5]}'
        tensors, values = tensors + more, values + others
    lines = (whole/'log.jsonl').read_bytes().count(b'\n')
    return dict(files=len(names), lines=lines, checkpoints=len(pairs), tensors=tensors, values=values)


def write_results(key, found):
    "Add figures to the committed file of results, beside those of the other tests."
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    files.write_atomic(RESULTS, json.dumps(known | {key: found}, indent=1) + '\n')

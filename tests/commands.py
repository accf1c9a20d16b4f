"""Run commands in processes of their own that need not import PyTorch again: each is a fork of one process that has."""
import os
import signal
import sys
import threading
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from autogan_nb import cli

_context = get_context('forkserver')
_context.set_forkserver_preload(['autogan_nb.cli', 'matplotlib.pyplot', 'torch.utils.tensorboard', 'torchvision.transforms.v2.functional'])


def _child(words, cwd, env, out, err):
    "Do what the shell would do: set the environment, folder and streams, then call the command."
    for number, name in ((1, out), (2, err)): os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = words
    try: getattr(cli, words[0]).shell()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def run(cwd, command, *args, **env):
    "Run a command in a folder; return exit code, standard output and standard error."
    assert 'PYTHONPATH' not in env, 'the modules are imported already'
    with TemporaryDirectory() as home:
        out, err = Path(home)/'out', Path(home)/'err'
        words = [command, *map(str, args)]
        process = _context.Process(target=_child, args=(words, str(cwd), os.environ | env, str(out), str(err)))
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f'{words} took more than five minutes')
        return process.exitcode, out.read_text(), err.read_text()


def one_sentence(done, *parts):
    "Assert that a command refused in one sentence that names these parts."
    code, out, err = done
    said = [line for line in err.splitlines() if ': warning: ' not in line]
    assert (code, out, len(said)) == (2, '', 1) and 'Traceback' not in err, done
    for part in parts: assert part in err, (part, err)

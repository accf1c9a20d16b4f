"Test the command autogan_semi in processes of its own: stopped by a signal, killed, and continued."
import os
import signal
import subprocess
import sys
import time

import numpy as np

from autogan_nb.data.images import digits

COMMAND = [sys.executable, '-c', 'import sys; from autogan_nb.tools.few_labels import autogan_semi; autogan_semi.shell(sys.argv[1:])']
TINY = '--data digits --labels 30 --size 8 --steps 150 --device cpu -q'.split()
FILES = 'classifier.safetensors', 'alone.safetensors', 'generator.safetensors', 'log.jsonl', 'scores.json', 'samples.png'


def start(cwd, *words): return subprocess.Popen([*COMMAND, *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_stopped_and_killed_run_ends_like_another(tmp_path):
    whole = start(tmp_path, *TINY, '--out', 'whole')
    out, err = whole.communicate(timeout=300)
    assert (whole.returncode, err) == (0, '') and '30 labels of 10 classes, 4,000 images to learn from' in out
    for number in (signal.SIGTERM, signal.SIGKILL):
        words = ('--resume', 'part', '-q') if (tmp_path/'part').exists() else (*TINY, '--out', 'part')
        process = start(tmp_path, *words)
        log, before = tmp_path/'part'/'log.jsonl', time.monotonic()
        seen = 1 if number == signal.SIGTERM else 3
        while not (log.exists() and len(log.read_text().splitlines()) >= seen) and time.monotonic() < before + 120: time.sleep(.02)
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=120)
        if number == signal.SIGTERM: assert process.returncode == 143 and 'continue with autogan_semi --resume part' in err
        else: assert process.returncode == -signal.SIGKILL
        assert not (tmp_path/'part'/'scores.json').exists()
    last = start(tmp_path, '--resume', 'part', '-q')
    again, err = last.communicate(timeout=300)
    assert (last.returncode, err, again.replace('part/', 'whole/')) == (0, '', out)
    for file in FILES: assert (tmp_path/'part'/file).read_bytes() == (tmp_path/'whole'/file).read_bytes(), file


def test_a_run_goes_on_with_its_own_images_only(tmp_path):
    data = digits(8)
    np.savez(tmp_path/'some.npz', images=data.images[::10].permute(0, 2, 3, 1).numpy(), labels=data.labels[::10].numpy())
    words = '--data some.npz --size 8 --steps 5 --out run -q'.split()
    assert start(tmp_path, *words).wait(120) == 0
    np.savez(tmp_path/'some.npz', images=data.images[::10].permute(0, 2, 3, 1).numpy(), labels=data.labels[::10].flip(0).numpy())
    process = start(tmp_path, '--resume', 'run')
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and err.count('\n') == 1 and 'are not those that run started with' in err

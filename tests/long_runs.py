"""Measure whether a search of hours takes ever more memory or slows down.

`python tests/long_runs.py` measures 5,000 generator steps of each kind, about ten minutes, and writes nbs/results/survival.json."""
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from autogan_nb.gan.training import GANTrainer
from survival import GAN, SEARCH, TRAIN, Running, make_run, tiny, write_data, write_results

PAGE = os.sysconf('SC_PAGE_SIZE')


def settings(kind, data, steps):
    "Return the settings of a search of two stages with occasional resets, or of one long training."
    gan = replace(GAN, n_critic=1)
    iterations = -(-steps // 16) + 1                    # 16 cycles in each, fewer where the losses are flat
    search = replace(SEARCH, iterations=iterations, grow_after=(iterations//4,), epochs=1., reset_window=500, reset_threshold=1e-3)
    train = replace(TRAIN, steps=steps if kind == 'training' else 20, eval_every=max(5, steps//20) if kind == 'training' else 0)
    return tiny(data, search, train, gan)


def sample(file, path, every):
    "Record the CPU time of each cycle, and now and then memory, open files, bytes of log and curves; called in the measured process."
    cycle, rows, out = GANTrainer.cycle, [0], open(file, 'w', buffering=1)
    def measured(self, *args, **kwargs):
        start = time.process_time()                 # CPU time: other work of the machine does not count
        result = cycle(self, *args, **kwargs)
        rows[0] += 1
        size = len(self.G.cells) and args[0].images.shape[-1] if args and hasattr(args[0], 'images') else None
        row = dict(cycle=rows[0], seconds=time.process_time() - start, size=size)
        if rows[0] % every == 0:
            row |= dict(clock=time.process_time(), rss=int(Path('/proc/self/statm').read_text().split()[1])*PAGE,
                        files=len(os.listdir('/proc/self/fd')),
                        log=(path/'log.jsonl').stat().st_size if (path/'log.jsonl').exists() else 0,
                        curves=sum(f.stat().st_size for f in (path/'tensorboard').glob('*')))
        out.write(json.dumps(row) + '\n')
        return result
    GANTrainer.cycle = measured


def slope(rows, key, scale):
    "Return by how much `key` grows in 1,000 steps, fitted by least squares."
    x, y = (np.array([row[name] for row in rows], float) for name in ('cycle', key))
    return float(np.polyfit(x/1000, y/scale, 1)[0])


def measure(kind, folder, steps, every=10):
    "Run a search or a training of so many steps; return how it grew."
    folder = Path(folder)
    preset = settings(kind, write_data(folder), steps)
    more = dict(arch='pre-none-nearest-sc,post-batch-deconv-s0') if kind == 'training' else {}
    path = make_run(folder/'run', preset, **more)
    command = 'autogan_train' if kind == 'training' else 'autogan_search'
    running = Running([command, '--resume', path, '-q', '--no-report', '--device', 'cpu'], folder/'process',
                      before=partial(sample, str(folder/'samples'), path, every))
    code = running.wait(7200)
    assert code == 0, running.err
    rows = [json.loads(line) for line in (folder/'samples').read_text().splitlines()]
    if kind == 'search': rows = rows[:-2*preset.train.steps]         # without the trainings that follow
    return summary(rows)


def summary(rows):
    "Summarise a run after a warm-up of a fifth, in a search only after the last growth."
    sampled = [row for row in rows if 'rss' in row]
    last = [row for row in sampled if row['size'] == sampled[-1]['size']]
    settled = last[len(last)//5:]
    seconds = [row['seconds'] for row in rows if row['size'] == sampled[-1]['size']]
    tenth = max(1, len(seconds)//10)
    start, end = np.median(seconds[tenth:2*tenth]), np.median(seconds[-tenth:])
    clock = [(b['clock'] - a['clock'])/(b['cycle'] - a['cycle']) for a, b in zip(last, last[1:])]
    part = max(1, len(clock)//10)
    return dict(steps=len(rows), mb_per_1000_steps=round(slope(settled, 'rss', 2**20), 3),
                mb_at_the_end=round(sampled[-1]['rss']/2**20), mb_after_warm_up=round(settled[0]['rss']/2**20),
                mb_by_stage={str(size): [round(r[0]/2**20), round(r[-1]/2**20)] for size, r in _stages(sampled).items()},
                open_files_after_warm_up=settled[0]['files'], open_files_at_the_end=sampled[-1]['files'],
                step_ms_at_the_start=round(1000*start, 2), step_ms_at_the_end=round(1000*end, 2), step_ratio=round(end/start, 3),
                step_with_all_ms_at_the_start=round(1000*np.median(clock[part:2*part] or clock), 2),
                step_with_all_ms_at_the_end=round(1000*np.median(clock[-part:]), 2),
                log_kb_per_1000_steps=round(slope(settled, 'log', 1024), 1),
                curves_kb_per_1000_steps=round(slope(settled, 'curves', 1024), 1))


def _stages(rows):
    found = defaultdict(list)
    for row in rows: found[row['size']].append(row['rss'])
    return found


if __name__ == '__main__':
    steps, found = int(sys.argv[1]) if len(sys.argv) > 1 else 5000, {}
    for kind in ('search', 'training'):
        with tempfile.TemporaryDirectory() as folder: found[kind] = measure(kind, folder, steps, every=50)
        print(kind, json.dumps(found[kind], indent=1), flush=True)
    write_results('long_runs', found)

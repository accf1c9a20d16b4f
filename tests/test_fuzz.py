"""Feed every reader of this package what it should never get: noise, near misses, and valid files with a few bytes changed.

Each must return a valid object or raise its documented error, in one short sentence.
It must not leave files behind, run code from a file, hang, or fill the memory.

    pytest tests/test_fuzz.py                                        a short round, always the same
    pytest tests/test_fuzz.py --long                                 10,000 inputs for each reader
    python tests/test_fuzz.py 10000 nbs/results/fuzz.json            the same, and write the counts to a file"""
import copy
import gzip
import io
import json
import math
import os
import pickle
import platform
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning
from PIL import Image

from autogan_nb.cli import autogan_search, find_arch
from autogan_nb.practice import jobs
from autogan_nb.practice.presets import OPTIONS, PRESETS, configure, preset_from, read_config, settings_from
from autogan_nb.settings import TEXTS as SOME_TEXTS, settings_of
from autogan_nb.shell import read_options
from autogan_nb.files import load_weights, save_weights
from autogan_nb.practice.runs import RunFolder
from autogan_nb.data.datasets import array_file
from autogan_nb.data.decoding import read_image, quiet_pillow
from autogan_nb.data.folders import image_folder, look_at, is_colour
from autogan_nb.data.images import ImageData
from autogan_nb.data.named import cifar10, read_idx
from autogan_nb.search.derived_gan import DerivedGenerator, load_generator, save_generator
from autogan_nb.gan.discriminator import Discriminator, load_discriminator, save_discriminator
from autogan_nb.metrics.inception import _read_weights
from autogan_nb.metrics.fid import Moments
from autogan_nb.metrics.evaluator import _stats_file
from autogan_nb.practice.published import load_published, load_published_discriminator
from autogan_nb.search.space import NAMED, A, Architecture
from autogan_nb.practice.sharing import export_network, load_exported
from autogan_nb.search.shared_gan import SharedGenerator
from autogan_nb.data.streaming import ArrayFile
from autogan_nb.tools.reading import find_generator, holds_weights, written_by
from autogan_nb.tools.sampling import read_seeds

HARM = Path(tempfile.gettempdir()) / f'autogan-nb-harm-{os.getpid()}'


class Payload:
    "Make a folder when unpickled in the ordinary way."
    def __reduce__(self): return os.mkdir, (str(HARM),)


# ---- inputs ----

ODD_VALUES = [0, -1, 1, 2, 3, 2**31, 2**63, 10**30, -1e300, 1e-300, .5, math.nan, math.inf,
              '', 'x', '../../x', 'pre', '1e400', [], {}, [[]], [1, 2, 3]]
JUNK = st.one_of(st.none(), st.booleans(), st.sampled_from(ODD_VALUES),
                 st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(-2, 300), max_size=20))
DEEP = ['[' * 100_000, '{"a":' * 100_000, '[' * 100_000 + ']' * 100_000, '{"cells": ' + '[' * 50_000 + ']' * 50_000 + '}',
        '1e400', '-1e400', '9' * 5000, '"' + 'x' * 10**6 + '"', '\ud800', '\0']
DEEP_BYTES = st.sampled_from(DEEP).map(lambda text: text.encode(errors='replace'))


def spliced(draw, whole, other, extra):
    "Return `whole`, a text or bytes, with one change drawn at random."
    def spot(long):
        near = min(300, long)
        return draw(st.one_of(st.integers(0, long), st.integers(0, near), st.integers(long - near, long)))
    i = spot(len(whole))
    j = min(len(whole), i + draw(st.integers(1, 40)))
    kind = draw(st.sampled_from(['cut', 'behead', 'drop', 'double', 'splice', 'insert', 'replace', 'swap']))
    if kind == 'cut': return whole[:i]
    if kind == 'behead': return whole[i:]
    if kind == 'drop': return whole[:i] + whole[j:]
    if kind == 'double': return whole[:j] + whole[i:]
    if kind == 'splice': return whole[:i] + other[spot(len(other)):]
    if kind == 'swap': return whole[:i] + whole[i:j][::-1] + whole[j:]
    new = draw(extra)
    return whole[:i] + new + whole[i + len(new) if kind == 'replace' else i:]


@st.composite
def changed_text(draw, seeds):
    "Draw a valid text with one to four changes."
    text = draw(st.sampled_from(seeds))
    snippets = ['-', ',', '0', '-1', '99999999999', 'sc', 's0', 's9', '[', '{', '"', 'null', '1e400', 'NaN', '../', '\n', 'A']
    extra = st.one_of(st.text(max_size=8), st.sampled_from(snippets))
    for _ in range(draw(st.integers(1, 4))): text = spliced(draw, text, draw(st.sampled_from(seeds)), extra)
    return text


@st.composite
def changed_bytes(draw, seeds):
    "Draw a valid file with one to four changes; the most frequent one flips a bit."
    data = draw(st.sampled_from(seeds))
    snippets = [b'\0' * 8, b'\xff' * 8, struct.pack('<Q', 2**40), struct.pack('<I', 2**31 - 1), b'PK\3\4', b'\x80\x02']
    extra = st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(snippets))
    for _ in range(draw(st.integers(1, 4))):
        if data and draw(st.booleans()):
            i = draw(st.integers(0, len(data) - 1))
            data = data[:i] + bytes([data[i] ^ 1 << draw(st.integers(0, 7))]) + data[i + 1:]
        else: data = spliced(draw, data, draw(st.sampled_from(seeds)), extra)
    return data


@st.composite
def rezipped(draw, seeds):
    "Draw a zip archive whose members were changed, renamed, dropped or repeated, with correct checksums."
    archive = draw(st.sampled_from([s for s in seeds if s[:2] == b'PK']))
    with zipfile.ZipFile(io.BytesIO(archive)) as old: members = [(name, old.read(name)) for name in old.namelist()]
    if draw(st.booleans()): where = draw(st.integers(0, len(members) - 1))
    else: where = min(range(len(members)), key=lambda k: len(members[k][0]) - 99 * members[k][0].endswith('.pkl'))
    name, data = members[where]
    kind = draw(st.sampled_from(['change'] * 6 + ['rename', 'drop', 'repeat', 'junk']))
    if kind == 'change': members[where] = name, draw(changed_bytes([data or b'\0', members[0][1]]))
    if kind == 'rename':
        names = st.sampled_from(['../../x.npy', '/etc/x', 'labels.npy', 'images.npy', 'mu.npy', 'n.npy'])
        members[where] = draw(st.one_of(names, st.text(min_size=1, max_size=9).filter(lambda t: t.isprintable()))), data
    if kind == 'drop': del members[where]
    if kind == 'repeat': members.append((name, draw(changed_bytes([data or b'\0']))))
    if kind == 'junk': members[where] = name, draw(st.binary(max_size=200))
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, 'w', draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as new:
        warnings.simplefilter('ignore')
        for name, data in members: new.writestr(name, data)
    return file.getvalue()


def paths(tree, here=()):
    "Yield the path of keys to every value in a tree of dicts and lists."
    yield here
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner: yield from paths(value, (*here, key))


@st.composite
def changed_tree(draw, trees, junk=JUNK):
    "Draw a valid tree with one to three values replaced, dropped, or moved to another name."
    tree = json.loads(json.dumps(draw(st.sampled_from(trees))))
    junk = junk.map(copy.deepcopy)                      # a later change must not reach the original
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(paths(tree)))) or [None]
        if last is None: return draw(junk)
        inner = tree
        for key in way: inner = inner[key]
        kind = draw(st.sampled_from(['replace'] * 4 + ['drop', 'move']))
        if kind == 'replace': inner[last] = draw(junk)
        elif kind == 'drop': del inner[last]
        elif isinstance(inner, dict): inner[draw(st.one_of(st.text(max_size=12), st.just('x' * 10_000)))] = inner.pop(last)
        if not tree: return tree
    return tree


def as_json(trees): return changed_tree(trees).map(json.dumps)


@st.composite
def changed_header(draw, seeds):
    "Draw a safetensors file whose JSON header was changed, with the correct length."
    data = draw(st.sampled_from(seeds))
    length = struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:8 + length])
    facts = json.loads(header['__metadata__']['autogan_nb'])
    if draw(st.booleans()): header['__metadata__']['autogan_nb'] = json.dumps(draw(changed_tree([facts])))
    else: header = draw(changed_tree([header]))
    text = json.dumps(header).encode() if draw(st.integers(0, 9)) else draw(st.sampled_from(DEEP)).encode(errors='replace')
    text += b' ' * (-len(text) % 8)
    return struct.pack('<Q', len(text)) + text + data[8 + length:]


def saved(write, suffix=''):
    "Return the bytes that `write(path)` writes."
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / f'file{suffix}')
        return (Path(folder) / f'file{suffix}').read_bytes()


def packed(box, **kwargs): return saved(lambda path: torch.save(box, path, **kwargs))


# ---- outcomes ----

class Reader:
    "A reader, its inputs, and a check of the objects it returns."
    def __init__(self, name, inputs, read, valid, refuses=(ValueError,), share=1):
        self.name, self.inputs, self.read, self.valid, self.refuses, self.share = name, inputs, read, valid, refuses, share


def check_words(error):
    said = str(error)
    assert said.strip() and '\n' not in said and len(said) < 700, f'{type(error).__name__}: {said[:2000]!r}'


@contextmanager
def limited(seconds=30):
    "Raise TimeoutError if the work inside the `with` block takes too long."
    def late(*_): raise TimeoutError(f'more than {seconds} seconds')
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try: yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(reader, content):
    "Read one input; return 'valid' or 'refused', and raise an error for any other outcome."
    with limited(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try: found = reader.read(content)
        except reader.refuses as error:
            check_words(error)
            outcome = 'refused'
        else: outcome = 'valid' if found is not None and reader.valid(found) is not False else 'refused'
    assert len(caught) <= 3, [str(w.message) for w in caught]
    return outcome


def fuzz(reader, n):
    "Run a reader on n inputs; count them by outcome and measure the seconds."
    counts, start, before = Counter(), time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(max_examples=max(1, int(n * reader.share)), derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(reader.inputs)
    def once(content): counts[attempt(reader, content)] += 1

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', HypothesisWarning)          # large files make large messages if an input fails
        once()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    assert grown < 2, f'{grown:.1f} GiB of memory'
    assert not HARM.exists(), 'a payload ran'
    return dict(inputs=counts.total(), valid=counts['valid'], refused=counts['refused'], seconds=round(time.perf_counter() - start, 1))


# ---- the readers ----

FOLDER = tempfile.TemporaryDirectory()
HERE = Path(FOLDER.name)


def from_file(read, name):
    "Make a reader of bytes from a reader of files; check that it adds no file to the folder."
    place = HERE / f'{len(os.listdir(HERE))} {name}'
    place.mkdir()
    def through(content):
        (place / name).write_bytes(content)
        try: return read(place / name)
        finally: assert os.listdir(place) == [name], os.listdir(place)
    return through


def good_arch(arch):
    assert isinstance(arch, Architecture) and Architecture.parse(str(arch)) == arch
    assert Architecture.from_vector(arch.to_vector()) == arch == Architecture.from_json(arch.to_json())
    assert len(arch.draw().splitlines()) == len(arch) + 2


def architecture_readers():
    words = st.sampled_from(['pre', 'post', 'none', 'batch', 'instance', 'nearest', 'bilinear', 'deconv', 'sc', 's0', 's1', 's2',
                             '', 'x', 'PRE', '-', ' ', '\t'])
    as_numbers = [' '.join(map(str, a.to_vector())) for a in NAMED.values()]
    texts = [*NAMED, 'AutoGAN-CIFAR10-A', '', *map(str, NAMED.values()), *as_numbers, str(A.to_vector()), A.to_json(), repr(A)]
    near = st.lists(st.lists(words, min_size=1, max_size=7).map('-'.join), max_size=20).map(','.join)
    numbers = st.lists(st.integers(-1, 8), max_size=30).map(lambda v: ' '.join(map(str, v)))
    long = st.sampled_from(DEEP + ['1 ' * 10**6, '1' * 10**6 + 'x', 'pre-' * 10**6])
    inputs = st.one_of(st.text(), near, numbers, changed_text(texts), changed_text(texts), long)
    yield Reader('architecture as text', inputs, Architecture.parse, good_arch)

    def with_one_entry(drawn):
        arch, k, value = drawn
        return [*arch.to_vector()[:k], value, *arch.to_vector()[k + 1:]]
    near = st.tuples(st.sampled_from(list(NAMED.values())), st.integers(0, 13), st.integers(-1, 4)).map(with_one_entry)
    changed = changed_tree([a.to_vector() for a in NAMED.values()]).filter(lambda v: isinstance(v, list))
    vectors = st.one_of(st.lists(st.integers(0, 2), max_size=30), st.lists(JUNK, max_size=20), st.just([1] * 10**6), st.just([10**5000]),
                        changed, near)
    yield Reader('architecture as vector', vectors, Architecture.from_vector, good_arch)
    values = st.one_of(vectors, JUNK.filter(lambda v: not isinstance(v, str)), changed_tree([json.loads(A.to_json())]))
    yield Reader('architecture as values', values, Architecture.parse, good_arch)

    trees = [json.loads(a.to_json()) for a in NAMED.values()]
    def nested(inner): return st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4))
    anything = st.recursive(JUNK, nested, max_leaves=12).map(json.dumps)
    changed = changed_text([json.dumps(t) for t in trees])
    inputs = st.one_of(as_json(trees), as_json(trees), anything, st.text(), changed, st.sampled_from(DEEP))
    yield Reader('architecture as JSON', inputs, Architecture.from_json, good_arch)

    rows = [[{'name': 'searched 1', 'arch': str(a), key: k == 0} for k, a in enumerate(NAMED.values())] for key in ('selected', 'kept')]
    file = HERE / 'selected' / 'architectures.json'
    file.parent.mkdir()
    def selected(content):
        file.write_bytes(content)
        return find_arch(str(file.parent))
    inputs = st.one_of(as_json(rows).map(str.encode), changed_bytes([json.dumps(r).encode() for r in rows]), DEEP_BYTES)
    yield Reader('architectures.json of a run', inputs, selected, good_arch)


def typed(value, like):
    "Return whether a setting has the type of its default."
    if is_dataclass(like):
        return type(value) is type(like) and all(typed(getattr(value, f.name), getattr(like, f.name)) for f in fields(like))
    if isinstance(like, tuple): return isinstance(value, tuple) and all(type(v) is (type(like[0]) if like else str) for v in value)
    if isinstance(like, float): return type(value) in (int, float) and math.isfinite(value)
    return type(value) is type(like) or like is None and isinstance(value, str)


def good_preset(preset):
    assert preset_from(json.loads(json.dumps(asdict(preset)))) == preset
    like = PRESETS['digits']
    for f in fields(like): assert typed(getattr(preset, f.name), None if f.name == 'root' else getattr(like, f.name)), f


def good_run(run):
    assert isinstance(run.config, dict) and isinstance(run.versions, dict)


TEXTS = ['hinge', 'x', 'digits', 'skip', 'reinforce', 'random', 'eager', 'bf16', '../../x', '~nobody-here/x', 'x' * 300]


def preset_trees(): return [json.loads(json.dumps(asdict(p))) for p in PRESETS.values()]


def preset_readers():
    trees = preset_trees()
    yield Reader('settings of a run', changed_tree(trees), preset_from, good_preset)

    file, inputs = json.dumps(trees[0], indent=2).encode(), as_json(trees).map(str.encode)
    inputs = st.one_of(inputs, changed_bytes([file]), st.binary(max_size=50), DEEP_BYTES)
    def configured(path): return configure('digits', config=read_config(path))
    yield Reader('settings in .json', inputs, from_file(configured, 'settings.json'), good_preset)

    file = 'size = 32\nchannels = 1\n[search]\niterations = 9\ngrow_after = [3, 6, 9]\n[final_gan]\ng_lr = 2e-4\n'
    deep = [b'a = ' + b'[' * 100_000, b'a = ' + b'9' * 5000, b'.'.join([b'a'] * 5000) + b' = 1', b'[' * 10**5]
    changed = changed_text([file]).map(lambda text: text.encode(errors='replace'))
    inputs = st.one_of(changed_bytes([file.encode()]), changed, st.sampled_from(deep))
    if sys.version_info < (3, 11): return               # no tomllib
    yield Reader('settings in .toml', inputs, from_file(configured, 'settings.toml'), good_preset)


def option_readers():
    by_kind = {int: st.integers(-2, 100), str: st.sampled_from(TEXTS), float: st.floats(), bool: st.booleans(),
               tuple: st.lists(st.integers(-1, 100), max_size=4).map(tuple),
               SOME_TEXTS: st.lists(st.sampled_from(['100', '1/2', '0', '1/0', '', 'x', '2/1']), max_size=3).map(tuple)}
    known = settings_of(PRESETS['digits'])
    kinds = {name: by_kind[known[option.of[0]].kind] for name, option in OPTIONS.items()}
    recipes = dict(recipe=st.sampled_from(['paper', 'strong', 'digits', 'x']))
    options = st.fixed_dictionaries(dict(preset=st.sampled_from([*PRESETS, 'x', ''])), optional=kinds | recipes)
    def valued(drawn):
        preset, names = drawn
        return st.fixed_dictionaries({name: kinds[name] for name in names}).map(lambda values: dict(preset=preset) | values)
    names = st.dictionaries(st.sampled_from(list(kinds)), st.none(), max_size=3)
    few = st.tuples(st.sampled_from([*PRESETS]), names).flatmap(valued)
    missing = ValueError, FileNotFoundError             # one option names files
    yield Reader('options of a command', st.one_of(options, few, few), lambda given: configure(**given), good_preset, missing)

    odd = ['1', '-1', '0', '.5', '1e400', 'nan', 'true', 'none', '1,2', 'a,b', '']
    values = st.one_of(st.sampled_from(TEXTS + odd), st.text(max_size=8))
    pairs = st.tuples(st.sampled_from([*known, 'search.x', 'x', '']), st.sampled_from(['=', '=', '=', '', '==']), values).map(''.join)
    of_number = st.sampled_from([name for name, setting in known.items() if setting.kind in (int, float, bool, tuple)])
    long = of_number.map(lambda name: f'{name}={"9" * 5000}')          # more digits than int() reads
    switches = st.sampled_from([f'--{name}' for name in kinds] + ['--seed', '--quiet', '-q', '--x', '--'])
    sets = st.tuples(st.just('--set'), st.one_of(pairs, pairs, long))
    parts = st.one_of(sets, st.tuples(switches, values), st.tuples(switches), st.tuples(values))
    words = st.lists(parts, max_size=4).map(lambda drawn: [word for some in drawn for word in some])
    ranges = st.one_of(st.text('0123456789-, ', max_size=30), st.text(max_size=9), st.sampled_from(DEEP))
    yield Reader('seeds', ranges, read_seeds, lambda found: 0 < len(found) <= 10**6 and len(found) == len(set(found)))
    yield Reader('words of a command', words, lambda words: settings_from(read_options(autogan_search, words)), good_preset, missing)


def config_readers():
    trees = preset_trees()
    whole = json.dumps(dict(config=dict(preset=trees[0], seed=0), versions=dict(torch='2')), indent=2)
    near = [json.loads(whole)]
    openings = st.one_of(changed_bytes([whole.encode()]), as_json(near).map(str.encode), st.binary(max_size=50), DEEP_BYTES)
    yield Reader('config.json', openings, from_file(lambda path: RunFolder.open(path.parent), 'config.json'), good_run)

    run, data = RunFolder.create(HERE / 'continued', dict(preset=trees[0], seed=0)), ImageData(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    entries = [dict(images=dict(n=2, fingerprint=data.fingerprint), history=[dict(steps=[2, 4])], **{'from': dict(G='x', D='y')})]
    def continued_with(entries):
        run.config = dict(preset=trees[0], seed=0) | entries
        for name in ('images', 'history', 'from'): jobs._entry(run, name)
        return jobs.record(run, preset_from(trees[0]), data)
    yield Reader('entries of a continued run', changed_tree(entries).filter(lambda tree: isinstance(tree, dict)), continued_with, good_run)

    lines = [dict(kind='search', iteration=3, reward=2.5, arch='pre-none-nearest', losses=['NaN', 1.5]), dict(kind='train', step=1)]
    log = b''.join(json.dumps(line).encode() + b'\n' for line in lines * 3)
    made = RunFolder.create(HERE / 'logged', {})
    made.close()
    def records(content):
        (made.path / 'log.jsonl').write_bytes(content)
        return [made.records(), made.records('search')]
    def good_records(found):
        every, searches = found
        right = all(isinstance(r, dict) for r in every) and searches == [r for r in every if r.get('kind') == 'search']
        assert right or repr(searches).count('nan')         # NaN does not equal itself
    changed = as_json(lines).map(lambda text: log + text.encode() + b'\n' + log)
    inputs = st.one_of(changed_bytes([log]), changed, st.binary(max_size=50), DEEP_BYTES.map(lambda line: line + b'\n'))
    yield Reader('log.jsonl', inputs, records, good_records)


def good_images(data):
    assert data.images.dtype == torch.uint8 and data.images.ndim == 4 and len(data) > 0 and data.images.shape[1] in (1, 3)
    assert data.images.numel() < 10**7 and int(data.images.sum()) >= 0
    assert data.labels is None or data.labels.shape == (len(data),) and data.labels.dtype == torch.int64


def bomb_npz():
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open('images.npy', 'w') as member:
        np.lib.format.write_array_header_1_0(member, dict(descr='|u1', fortran_order=False, shape=(300, 2**10, 2**10)))
        for _ in range(300): member.write(bytes(2**20))
    return file.getvalue()


def npy_header(text): return b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text.encode(errors='replace')


def array_readers():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (6, 8, 8, 3), np.uint8), rng.integers(0, 10, 6)
    evil = np.array([Payload()], dtype=object)
    arrays = [dict(images=images, labels=labels), dict(arr_0=images[..., 0]), dict(images=evil), dict(images=images, labels=evil),
              dict(images=images, labels=labels * .5)]
    npz = [saved(lambda p, a=a: np.savez(open(p, 'wb'), **a)) for a in arrays]
    npz += [saved(lambda p: np.savez_compressed(open(p, 'wb'), images=images)), bomb_npz()]
    npy = [saved(lambda p, a=a: np.save(open(p, 'wb'), a)) for a in (images, images[..., 0], evil)] + [pickle.dumps(Payload(), protocol=2)]
    inputs = st.one_of(changed_bytes(npz[:-1]), rezipped(npz[:-1]), rezipped(npz[:-1]), st.binary(max_size=100), st.sampled_from(npz))
    yield Reader('images in .npz', inputs, from_file(array_file, 'images.npz'), good_images)

    def with_header(drawn):
        header = "{'descr': %s, 'fortran_order': %s, 'shape': %s}" % drawn
        return npy_header(header.ljust(110) + '\n') + images.tobytes()
    types = st.sampled_from(["'|u1'", "'|O'", "'<f8'", "'<U9'", "[('a', '|u1')]", '3', "'|V0'", "'<M8[s]'"])
    shapes = st.lists(st.sampled_from([0, 1, 6, 8, 3, -1, 2**31, 2**62, 2**64]), max_size=5).map(tuple)
    headers = st.tuples(types, st.booleans(), st.one_of(shapes, st.just('x'))).map(with_header)
    nested = "{'descr': '|u1', 'fortran_order': False, 'shape': " + '(' * 4000 + ')' * 4000 + '}'
    odd = [npy_header(text) for text in ('(' * 9000, '9' * 9000, nested, 'x' * 60_000)] + [b'\x93NUMPY\3\0' + struct.pack('<I', 2**32 - 1)]
    inputs = st.one_of(changed_bytes(npy), headers, st.sampled_from(odd), st.sampled_from(npy))
    yield Reader('images in .npy', inputs, from_file(array_file, 'images.npy'), good_images)

    there = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    boxes = [dict(images=there, labels=torch.from_numpy(labels)), there, dict(images=there, extra=Payload()), dict(images=Payload())]
    pt = [packed(b, _use_new_zipfile_serialization=new) for b in boxes for new in (True, False)]
    tensors = [there, there[:1].expand(6, 3, 8, 8), there[:1, :1, :1, :1].expand(10**6, 3, 99, 99), there.float(), there.to_sparse(),
               there[:0], torch.tensor(3), torch.zeros(6), torch.zeros(6, dtype=torch.complex64)]
    values = st.one_of(JUNK, st.sampled_from(tensors))
    dicts = st.dictionaries(st.sampled_from(['images', 'labels', 'arr_0', 3, 'x' * 10**5]), values, max_size=3)
    boxed = st.one_of(values, dicts, st.fixed_dictionaries(dict(images=st.just(there), labels=values))).map(packed)
    inputs = st.one_of(changed_bytes(pt), rezipped(pt), rezipped(pt), boxed, boxed, st.sampled_from(pt))
    yield Reader('images in .pt', inputs, from_file(array_file, 'images.pt'), good_images)

    features = torch.from_numpy(rng.normal(size=(9, 4)))
    stats = [saved(Moments().update(features).save)]
    mu, sigma = features.mean(0).numpy(), np.cov(features.T.numpy())
    stats += [saved(lambda p: np.savez(open(p, 'wb'), mu=mu, sigma=sigma)), saved(lambda p: np.savez(open(p, 'wb'), mu=evil, sigma=sigma))]
    numbers = [np.array(value) for value in ('x', 0, 1, -5, 2**62, math.inf, 1.5)]
    odd = [mu, sigma, mu[0], sigma[:3], mu * np.nan, sigma * 1j, sigma.astype('>f8'), *numbers, mu.astype('f2'),
           np.zeros((0,)), np.zeros((0, 0)), np.eye(4) * -1, np.array([], 'M8[s]')]
    arrays = st.sampled_from(odd)
    parts = dict(mu=st.one_of(st.just(mu), arrays), sigma=st.one_of(st.just(sigma), arrays), n=arrays)
    made = st.fixed_dictionaries({}, optional=parts).map(lambda d: saved(lambda p: np.savez(open(p, 'wb'), **d)))
    def good_moments(found):
        assert found.mean.dtype == torch.float64 and found.cov.shape == (len(found.mean),) * 2
        assert found.cov.isfinite().all() and found.mean.isfinite().all()
        assert found.n is None or found.n >= 2
    inputs = st.one_of(changed_bytes(stats), rezipped(stats), rezipped(stats), made, made, st.sampled_from([bomb_npz(), *stats]))
    yield Reader('statistics in .npz', inputs, from_file(Moments.load, 'stats.npz'), good_moments)


def good_network(net):
    assert sum(p.numel() for p in net.parameters()) < 10**6 and isinstance(net.notes, dict)
    if isinstance(net, SharedGenerator): return
    assert type(net)(**net.settings).state_dict().keys() == net.state_dict().keys()


def weight_readers():
    torch.manual_seed(0)
    G, D = DerivedGenerator('pre-batch-nearest-sc,post-none-deconv-s0', 4, 3, 2, 1), Discriminator(1, 4, 1, 2)
    files = [saved(lambda p: save_generator(p, G, seed=1, scores=dict(fid=2.5)))]
    critics = [saved(lambda p: save_discriminator(p, D))]
    def good_weights(found):
        assert isinstance(found[1], dict) and all(isinstance(t, torch.Tensor) for t in found[0].values())
    def every(seeds):
        return st.one_of(changed_header(seeds), changed_header(seeds), changed_bytes(seeds), st.binary(max_size=99), st.sampled_from(seeds))
    yield Reader('safetensors', every(files + critics), from_file(load_weights, 'x.safetensors'), good_weights)
    yield Reader('generator.safetensors', every(files), from_file(load_generator, 'generator.safetensors'), good_network)
    read = from_file(load_discriminator, 'discriminator.safetensors')
    yield Reader('discriminator.safetensors', every(critics), read, good_network, share=.1)


def published(arch, width=4):
    "Return our weights under the names of a published fixed model."
    from autogan_nb.practice.published import _fixed_parts, _renamed
    G = DerivedGenerator(arch, width, 3, 2, 3)
    names = _renamed(G, _fixed_parts(G.arch))
    return {names[name]: value for name, value in G.state_dict().items()}


def published_readers():
    from autogan_nb.practice.published import _critic_name, _renamed, _shared_parts
    torch.manual_seed(0)
    fixed, S, D = published('A'), SharedGenerator(3, 4, 3, 2, 3), Discriminator(3, 4, 3, 2)
    shared = {_renamed(S, _shared_parts(3))[name]: value for name, value in S.state_dict().items()}
    critic = {_critic_name(name): value for name, value in D.state_dict().items()}
    boxes = [dict(epoch=3, gen_state_dict=fixed, best_fid=np.float64(3.5), gen_model='autogan_cifar10_a'), fixed,
             dict(gen_state_dict=shared), dict(epoch=1, avg_gen_state_dict=fixed, dis_state_dict=critic),
             dict(gen_state_dict=fixed, extra=Payload())]
    pth = [packed(b, _use_new_zipfile_serialization=new) for b in boxes for new in (True, False)]
    tensors = [torch.zeros(1).expand(10**6, 128), torch.zeros(4, 4, 3, 3), torch.zeros(0), torch.zeros(3),
               torch.zeros(16, 3, dtype=torch.complex64), torch.zeros(16, 3).to_sparse(), torch.zeros(4, 10**5, 1, 1)]
    value = st.one_of(JUNK, st.sampled_from(tensors))
    keys = st.sampled_from(['gen_model', 'epoch', 'best_fid', 'l1.weight', 'to_rgb.2.weight', 'cell1.c1.weight', 7])
    @st.composite
    def edited(draw):
        box = dict(draw(st.sampled_from(boxes[:4])))
        inner = draw(st.sampled_from([None, *(k for k, v in box.items() if isinstance(v, dict))]))
        target = box if inner is None else box.setdefault(inner, dict(box[inner]))
        if inner: target = box[inner] = dict(target)
        for _ in range(draw(st.integers(1, 3))):
            key = draw(st.sampled_from(sorted(target, key=str) or ['x']))
            if draw(st.booleans()): target.pop(key, None)
            else: target[draw(st.one_of(st.just(key), keys))] = draw(value)
        return packed(box)
    every = st.one_of(changed_bytes(pth), rezipped(pth), rezipped(pth), edited(), edited(), edited(), st.sampled_from(pth))
    yield Reader('published generator', every, from_file(load_published, 'checkpoint.pth'), good_network)
    read = from_file(lambda path: load_published_discriminator(path, 2), 'checkpoint.pth')
    yield Reader('published discriminator', every, read, good_network, share=.1)

    prefixes = st.sampled_from(['module.', '_orig_mod.', 'module.module.', 'module', '.', '', 'module.' * 1000])
    @st.composite
    def wrapped(draw):
        weights = {draw(prefixes) + name: value for name, value in fixed.items()} if not draw(st.integers(0, 3)) else fixed
        prefix = draw(prefixes)
        weights = {prefix + name: value for name, value in weights.items()}
        if draw(st.booleans()): weights[draw(st.one_of(st.just(3), st.text(max_size=9), prefixes))] = draw(value)
        return packed(weights if draw(st.booleans()) else dict(gen_state_dict=weights), _use_new_zipfile_serialization=draw(st.booleans()))
    seeds = [*pth, saved(lambda path: save_generator(path, DerivedGenerator('A', 4, 3, 2, 3)))]
    inputs = st.one_of(wrapped(), wrapped(), changed_bytes(seeds), st.sampled_from(seeds))
    yield Reader('generator in any file', inputs, from_file(find_generator, 'x.bin'), good_network)
    def kind(path): return written_by(path), holds_weights(path)
    yield Reader('kind of a file', inputs, from_file(kind, 'x'), lambda found: None, refuses=())


def same(a, b):
    if isinstance(a, torch.Tensor): return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict): return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


def checkpoint_readers():
    run = RunFolder.create(HERE / 'run', {})
    state = dict(step=3, weights=dict(w=torch.arange(6.).reshape(2, 3)), names=['a', 'b'], best=None)
    run.log(kind='x')
    run.save_checkpoint(state)
    run.close()
    newest = run.path / 'checkpoint.pt'
    whole = newest.read_bytes()
    left = {f.name for f in run.path.iterdir()} | {'lock', 'checkpoint.unreadable.pt'}
    parts = st.fixed_dictionaries({}, optional=dict(state=JUNK, log_length=JUNK, next_step=JUNK))
    boxes = st.one_of(JUNK, parts, st.just(dict(state=Payload(), log_length=0, next_step=0))).map(packed)
    def look(content):
        newest.write_bytes(content)
        found = RunFolder.open(run.path).load_checkpoint(resume=False)
        assert {f.name for f in run.path.iterdir()} <= left
        return dict(found=found)
    def resume(content):
        (run.path / 'checkpoint.prev.pt').write_bytes(whole)
        newest.write_bytes(content)
        (run.path / 'log.jsonl').write_bytes(b'{"kind": "x"}\n' * 3)
        again = RunFolder.open(run.path)
        try: return dict(found=again.load_checkpoint())
        finally:
            again.close()
            (run.path / 'checkpoint.prev.pt').unlink(missing_ok=True)
            assert {f.name for f in run.path.iterdir()} <= left
    def good(found): assert same(state, found['found'])
    damaged = st.one_of(changed_bytes([whole]), changed_bytes([whole]), st.binary(max_size=99), st.just(whole))
    yield Reader('checkpoint.pt', damaged, look, good, refuses=(RuntimeError, ValueError))
    foreign = st.one_of(rezipped([whole]), boxes)
    yield Reader('checkpoint.pt of a stranger', foreign, look, lambda found: None, refuses=(RuntimeError, ValueError))
    yield Reader('checkpoint.pt beside the one before', damaged, resume, good, refuses=(), share=.3)


def image_readers():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    def encode(kind):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, kind)
        return file.getvalue()
    postscript = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n'
    seeds = [encode(kind) for kind in ('PNG', 'JPEG', 'BMP', 'WEBP', 'GIF', 'TIFF', 'PPM', 'JPEG2000', 'AVIF')] + [postscript]
    def good(image): assert image.shape == (3, 8, 8) and image.dtype == torch.uint8
    def read(path):
        with quiet_pillow(): return read_image(path, 8, 3)
    inputs = st.one_of(changed_bytes(seeds), changed_bytes(seeds), st.binary(max_size=99), st.sampled_from(seeds))
    yield Reader('image files', inputs, from_file(read, 'x.png'), good, refuses=(), share=.3)
    def survey(path):
        with quiet_pillow(): return look_at(path), is_colour(path)
    def seen(found): assert (found[0] is None or min(found[0].size) > 0) and found[1] in (True, False, None)
    yield Reader('what is seen of image files', inputs, from_file(survey, 'x.png'), seen, refuses=())


def archived(suffix, mode='w'):
    "Return an archive of three small images, one of them in a folder."
    content, file = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(content, 'PNG')
    names = ('a.png', 'b/c.png', '../d.png')
    if suffix == '.zip':
        with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name in names: archive.writestr(name, content.getvalue())
    else:
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(content.getvalue())
                archive.addfile(member, io.BytesIO(content.getvalue()))
    return file.getvalue()


def archive_readers():
    def read(path):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return image_folder(path, 8, quiet=True)
    for suffix, mode in (('.zip', ''), ('.tar', 'w'), ('.tar.gz', 'w:gz'), ('.tar.xz', 'w:xz'), ('.tar.bz2', 'w:bz2')):
        seeds = [archived(suffix, mode)]
        inputs = st.one_of(changed_bytes(seeds), rezipped(seeds) if suffix == '.zip' else changed_bytes(seeds), st.binary(max_size=99))
        yield Reader(f'images in {suffix}', inputs, from_file(read, f'x{suffix}'), good_images, share=.3)
    head = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4])
    idx = [head + bytes(32), gzip.compress(head + bytes(32))]
    def bytes_only(found): assert found.dtype == torch.uint8 and 0 < found.numel() < 2**28
    inputs = st.one_of(changed_bytes(idx), st.binary(max_size=40), st.sampled_from(idx))
    for name in ('x.gz', 'x'): yield Reader(f'IDX in {name}', inputs, from_file(read_idx, name), bytes_only, share=.3)


def export_readers():
    torch.manual_seed(0)
    G = DerivedGenerator('pre-none-nearest', 2, 2, 2, 1)
    for suffix, share in (('.pt2', .1), ('.onnx', .1)):
        seeds = [saved(lambda p: export_network(G, p), suffix)]
        every = st.one_of(changed_bytes(seeds), rezipped(seeds) if suffix == '.pt2' else st.binary(max_size=99), st.sampled_from(seeds))
        read = from_file(load_exported, f'x{suffix}')
        yield Reader(f'exported {suffix}', every, read, lambda found: isinstance(found[1], dict), share=share)


FAMILIES = [architecture_readers, preset_readers, option_readers, config_readers, array_readers,
            weight_readers, published_readers, checkpoint_readers, image_readers, archive_readers, export_readers]


@pytest.mark.parametrize('family', FAMILIES, ids=lambda f: f.__name__)
def test_readers_return_a_valid_object_or_raise_a_short_error(family, request):
    n = 10_000 if request.config.getoption('--long', default=False) else 60
    if family is export_readers and n == 60: pytest.skip('exporting takes ten seconds; the payloads are tried in the notebook')
    for reader in family(): assert fuzz(reader, n)['inputs'] >= min(n, 50) * reader.share, reader.name


# ---- payloads, paths, bombs: each reader once, by name ----

def test_payload_is_live():
    "Check that the payload works: otherwise no test here could detect that it ran."
    try:
        pickle.loads(pickle.dumps(Payload()))
        assert HARM.exists()
    finally: HARM.rmdir()


def poison(folder):
    "Write files that carry the payload in every way that their formats allow."
    evil, bare, tensors = np.array([Payload()], dtype=object), pickle.dumps(Payload(), protocol=2), dict(w=torch.ones(2))
    for suffix in 'npy npz pt pth pt2 onnx safetensors png'.split(): (folder / f'bare.{suffix}').write_bytes(bare)
    np.save(folder / 'object.npy', evil)
    np.savez(folder / 'object.npz', images=evil, mu=evil, sigma=evil)
    boxes = dict(images=dict(images=Payload()),
                 gen=dict(gen_state_dict=tensors, dis_state_dict=tensors, more=Payload()),
                 state=dict(state=dict(a=Payload()), log_length=0, next_step=0))
    for name, box in boxes.items():
        for new in (True, False): torch.save(box, folder / f'{name}-{"new" if new else "old"}.pt', _use_new_zipfile_serialization=new)
    for file in folder.glob('*-*.pt'): file.with_suffix('.pth').write_bytes(file.read_bytes())
    return sorted(folder.iterdir())


def inception(path): return _read_weights(path, torch.nn.Linear(2, 2))          # any network: the file is refused before one is needed


def checkpoint(path):
    run = RunFolder.create(path.parent / f'run of {path.name}', {})
    (run.path / 'checkpoint.pt').write_bytes(path.read_bytes())
    try: run.load_checkpoint(resume=False)
    finally: run.close()


def shared_folder(path):
    folder = path.parent / f'shared {path.name}'
    folder.mkdir()
    for name in ('pytorch_model.bin', 'model.safetensors'): (folder / name).write_bytes(path.read_bytes())
    DerivedGenerator.from_pretrained(folder)


LOADERS = {
    '.npy': [array_file, ArrayFile],
    '.npz': [array_file, Moments.load],
    '.pt': [array_file, checkpoint, inception, shared_folder, find_generator],
    '.pth': [find_generator, load_published, load_published_discriminator, inception],
    '.pt2': [load_exported],
    '.onnx': [load_exported],
    '.safetensors': [load_weights, load_generator, load_discriminator],
    '.png': [lambda path: image_folder(path.parent, 8)],
}


@pytest.mark.filterwarnings('ignore')
def test_no_loader_runs_a_payload(tmp_path):
    tried = 0
    for file in poison(tmp_path):
        for load in LOADERS[file.suffix]:
            with pytest.raises((ValueError, RuntimeError)) as refused: load(file)
            check_words(refused.value)
            assert not HARM.exists(), (file.name, load)
            tried += 1
    assert tried > 40


def test_cifar10_that_was_changed_is_not_unpickled(tmp_path):
    base = tmp_path / 'cifar-10-batches-py'
    base.mkdir()
    names = [*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch', 'batches.meta']
    for name in names: (base / name).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(FileNotFoundError, match='not found or corrupted'): cifar10(tmp_path, download=False)
    assert not HARM.exists()


@pytest.mark.parametrize('name', ['../../x', '/etc/passwd', 'a/../../b', '..', '\0', 'x' * 300])
def test_no_name_leads_out_of_a_folder(name, tmp_path, monkeypatch):
    monkeypatch.setenv('AUTOGAN_CACHE', str(tmp_path / 'cache'))
    def read_conv(name): return Architecture.parse(dict(cells=[dict(conv=name, norm='none', up='nearest', shortcut=True)]))
    for read in (Architecture.parse, Architecture.from_json, read_conv):
        with pytest.raises(ValueError): read(name)
    of_digits = [dict(preset='digits') | {option: name} for option in ('recipe', 'strategy', 'loss')]
    for options in (dict(preset=name), *of_digits):
        with pytest.raises(ValueError): configure(**options)
    data = ImageData(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), name=name)
    stats = _stats_file(SimpleNamespace(fingerprint='0' * 16), data, 8)
    assert stats.parent == tmp_path / 'cache/stats' and stats == Path(os.path.normpath(stats))
    if '\0' in name: return
    member = npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}") + b'x'
    with zipfile.ZipFile(tmp_path / 'x.npz', 'w') as archive: archive.writestr(f'{name}.npy', member)
    with pytest.raises(ValueError, match="but no 'images'"): array_file(tmp_path / 'x.npz')
    with pytest.raises(ValueError, match='holds no mu'): Moments.load(tmp_path / 'x.npz')
    assert sorted(os.listdir(tmp_path)) == ['x.npz']


def wide_generator(path):
    "Write a file of a few numbers whose settings claim a network of terabytes."
    save_weights(path, {'linear.weight': torch.zeros(1)}, dict(arch='A', width=10**6, latent_dim=128, bottom=4, channels=3, notes={}))


def wide_discriminator(path): save_weights(path, {'x': torch.zeros(1)}, dict(n_cells=2**31, width=10**6, channels=3, bottom=4, notes={}))


def huge_header(path):
    text = json.dumps(dict(w=dict(dtype='F32', shape=[2**20, 2**20], data_offsets=[0, 2**42]))).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + b'0' * 64)


def many_pixels(path, side=9000):
    "Write a valid picture with fewer pixels than Pillow's own limit."
    header = struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0)
    def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    pixels = zlib.compress(bytes(side * (side + 1)))
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', pixels) + chunk(b'IEND', b''))


def repeated(path): torch.save(torch.zeros(1, dtype=torch.uint8).expand(10**9, 3, 32, 32), path)


def claimed_shape(path):
    "Write an .npy file whose header claims 81 petabytes."
    path.write_bytes(npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 9, 9)}" % 10**15) + b'x')


def bomb_tar(path):
    "Write a compressed tar of half a megabyte with a file of 300 MiB."
    with tarfile.open(path, 'w:gz') as archive, open('/dev/zero', 'rb') as zeros:
        member = tarfile.TarInfo('a.png')
        member.size = 300 * 2**20
        archive.addfile(member, zeros)


BOMBS = {
    'npz': (lambda path: path.write_bytes(bomb_npz()), array_file, '314,572,928 bytes'),
    'npy': (claimed_shape, array_file, 'not a file of plain arrays'),
    'pt': (repeated, array_file, 'that stores all of its numbers'),
    'generator': (wide_generator, load_generator, 'a network with these settings needs'),
    'discriminator': (wide_discriminator, load_discriminator, 'cannot build a network with the settings'),
    'safetensors': (huge_header, load_weights, 'not a safetensors file'),
    'png': (many_pixels, lambda path: image_folder(path.parent, 8), 'more than 67,108,864 pixels'),
    'zip': (lambda path: path.write_bytes(bomb_npz()), lambda path: image_folder(path, 8), '314,572,800 bytes|314,572,928 bytes'),
    'tgz': (bomb_tar, lambda path: image_folder(path, 8), 'more than 268,435,456 bytes'),
}


@pytest.mark.parametrize('name', BOMBS)
def test_bombs_are_refused_before_they_unfold(name, tmp_path):
    write, load, words = BOMBS[name]
    write(path := tmp_path / f'bomb.{name}')
    assert path.stat().st_size < 2**21
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with limited(20), pytest.raises(ValueError, match=words) as refused: load(path)
    check_words(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18           # a quarter of a GiB


def main(n, out, *names):
    """Fuzz every reader (or those named) with n inputs each; write the outcomes to a JSON file, failures included.

    The file's list `found`, written by hand, is kept."""
    from autogan_nb import __version__
    found = json.loads(Path(out).read_text()).get('found', []) if Path(out).exists() else []
    rows, versions = {}, dict(autogan_nb=__version__, python=platform.python_version(), torch=torch.__version__, numpy=np.__version__)
    for family in FAMILIES:
        for reader in family():
            if names and not {family.__name__, reader.name} & set(names): continue
            try: rows[reader.name] = fuzz(reader, n)
            except BaseException as error: rows[reader.name] = dict(failed=f'{type(error).__name__}: {error}'[:500])
            print(reader.name, rows[reader.name], flush=True)
            total = sum(row.get('inputs', 0) for row in rows.values())
            facts = dict(machine=f'{os.cpu_count()} CPU cores, shared with other work', versions=versions,
                         seed='the inputs are the same in every run', total=total, found=found, readers=rows)
            Path(out).write_text(json.dumps(facts, indent=1) + '\n')


if __name__ == '__main__': main(int(sys.argv[1]), *sys.argv[2:])

"Test the structure of the project: rooms of notebooks and modules in their order, what may import what, sizes, the story."
import ast
import functools
import graphlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'autogan_nb'
# the rooms, each with its first number
ROOMS = {'data': 10, 'gan': 20, 'metrics': 30, 'search': 40, 'strategies': 50, 'techniques': 60, 'conditional': 70,
         'models': 80, 'nas': 90, 'practice': 100, 'bench': 110, 'tools': 120, 'many': 130, 'parallel': 140, 'outlook': 150}
BEFORE_PRACTICE = ('core', 'show', 'files', 'loops', 'data', 'gan', 'metrics', 'search')             # read before the room `practice`
NO_MODULE, LAST_TO_READ = ('index', 'extend'), ('cli', 'extend')
MOST_KB, MOST_FLOORS, MOST_MODULES, MOST_CELLS, MOST_LINES, MOST_METHODS, WIDEST = 400, 6, 10, 80, 350, 12, 140


def found(folder, pattern):
    "Return the files of the top level and of each room, by their path without a suffix."
    paths = [p for room in ['', *ROOMS] for p in sorted((ROOT/folder/room).glob(pattern))]
    return {p.relative_to(ROOT/folder).with_suffix('').as_posix(): p for p in paths if not p.name.startswith(('.', '_'))}


def module_of(name): return re.sub(r'(^|/)\d+_', r'\1', name).replace('/', '.')


NOTEBOOKS = found('nbs', '*.ipynb')                                          # by 'gan/25_training'
MODULES = {module_of(name): path for name, path in found(PACKAGE, '*.py').items()}      # by 'gan.training'
NUMBERED = [name for name in NOTEBOOKS if name not in NO_MODULE]
NUMBERS = {name: re.match(r'\d+', name.split('/')[-1])[0] for name in NUMBERED}
SCRIPTS = [p for where in ('tests/*.py', '.ci/*', 'setup.py', f'{PACKAGE}/__init__.py') for p in sorted(ROOT.glob(where)) if p.is_file()]


def run(*args, cwd=ROOT):
    "Run a fresh Python process without a GPU and return what it prints; if it fails, the message is its error."
    done = subprocess.run([sys.executable, *args], cwd=cwd, env=os.environ | {'CUDA_VISIBLE_DEVICES': ''}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def all_cells(name): return [c for c in nbformat.read(NOTEBOOKS[name], 4).cells if c.source.strip()]


def cells(name):
    "Return a notebook's code cells."
    return [c for c in all_cells(name) if c.cell_type == 'code']


@functools.cache
def tree_of(module): return ast.parse(MODULES[module].read_text(encoding='utf-8'))


@functools.cache
def own_imports(module):
    "Return a module's imports of our own modules, even inside functions, as `(module, name)`; module is '' for the package itself."
    path, pairs = MODULES[module], []
    package = '.'.join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import): pairs += [(a.name, None) for a in node.names]
        if isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name('.' * node.level + (node.module or ''), package)
            pairs += [(base, a.name) for a in node.names]
    ours = [(m.removeprefix(PACKAGE).removeprefix('.'), n) for m, n in pairs if m.split('.')[0] == PACKAGE]
    inner = [(f'{m}.{n}'.removeprefix('.'), (m, n)) for m, n in ours]
    return [(whole, None) if whole in MODULES else pair for whole, pair in inner]     # `from autogan_nb.gan import losses` imports a module


def floors():
    "Return the height of every module in the import tree, 1 for those that import no other; CycleError if imports are circular."
    below, height = {m: {i for i, _ in own_imports(m) if i in MODULES} for m in MODULES}, {}
    for m in graphlib.TopologicalSorter(below).static_order(): height[m] = 1 + max([height[b] for b in below[m]], default=0)
    return height


def rank(module):
    "Return the rank of a module: 0 for a helper of the top level, then the rooms in their order, finally the commands."
    return len(ROOMS) + 1 if module == 'cli' else 1 + list(ROOMS).index(module.split('.')[0]) if '.' in module else 0


def patched(function):
    "Yield the classes to which fastcore's `patch` adds a function."
    for d in function.decorator_list:
        name = d.func if isinstance(d, ast.Call) else d
        if isinstance(name, ast.Name) and name.id == 'patch':
            yield from (n.id for n in ast.walk(function.args.args[0].annotation) if isinstance(n, ast.Name))
        if isinstance(name, ast.Name) and name.id == 'patch_to': yield from (n.id for n in ast.walk(d.args[0]) if isinstance(n, ast.Name))


def methods():
    "Return the methods of every class, by module and name, including those patched there (drawings give architectures two more)."
    functions, known = (ast.FunctionDef, ast.AsyncFunctionDef), {}
    for module in MODULES:
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.ClassDef):
                known.setdefault((module, node.name), set()).update(n.name for n in node.body if isinstance(n, functions))
            if isinstance(node, functions):
                for name in patched(node): known.setdefault((module, name), set()).add(node.name)
    return known


# Rooms

@pytest.mark.parametrize('name', NUMBERED)
def test_a_notebook_has_its_module(name):
    assert [c.source.split()[2] for c in cells(name) if c.source.startswith('#| default_exp')] == [module_of(name)]
    assert module_of(name) in MODULES


def test_modules_have_no_other_source():
    assert sorted(map(module_of, NUMBERED)) == sorted(MODULES)
    for name in NO_MODULE: assert not any(c.source.startswith(('#| default_exp', '#| export')) for c in cells(name))


@pytest.mark.parametrize('room', ['', *ROOMS])
def test_a_room_is_numbered_without_a_gap_and_small(room):
    here = sorted(int(number) for name, number in NUMBERS.items() if name.rpartition('/')[0] == room)
    first = ROOMS.get(room, 0)
    assert here == list(range(first, first + len(here))) and 0 < len(here) <= MOST_MODULES


def test_no_file_stands_outside_the_rooms():
    notebooks = {p for p in (ROOT/'nbs').rglob('*.ipynb') if not any(part.startswith(('.', '_')) for part in p.relative_to(ROOT).parts)}
    assert notebooks == set(NOTEBOOKS.values())
    modules = {p for p in (ROOT/PACKAGE).rglob('*.py') if not p.name.startswith('_')}
    assert modules == set(MODULES.values())


# Imports

# Import each module in a process of its own, forked after the import of torch alone, which takes seconds and is not under test.
IMPORT_ALONE = """
import importlib, json, os, sys, traceback
import torch
errors = {}
for name in sys.argv[1:]:
    read, write = os.pipe()
    if not (child := os.fork()):
        try: importlib.import_module(name)
        except BaseException: os.write(write, traceback.format_exc().encode()[-4000:])
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe: errors[name] = pipe.read()
    if os.waitpid(child, 0)[1]: errors[name] += 'the process died'
print(json.dumps(errors))
"""


@pytest.fixture(scope='module')
def import_errors(tmp_path_factory):
    "Import each module alone; return a dict from its name to the traceback, empty if there is none."
    names = [f'{PACKAGE}.{module}' for module in MODULES]
    return json.loads(run('-c', IMPORT_ALONE, *names, cwd=tmp_path_factory.mktemp('alone')))


@pytest.mark.parametrize('module', MODULES)
def test_a_module_imports_alone(module, import_errors): assert import_errors[f'{PACKAGE}.{module}'] == ''


@pytest.mark.parametrize('module', MODULES)
def test_imports_are_by_name_and_run_inwards(module):
    assert '*' not in {name for _, name in own_imports(module)}
    assert [m for m, _ in own_imports(module) if m and rank(m) > rank(module)] == [], f'{module} imports from a part that comes later'
    assert {name for m, name in own_imports(module) if not m} <= {'__version__'}, 'inside the package, names come from their own modules'


def test_the_import_tree_is_low_and_has_no_circle():
    assert {m: h for m, h in floors().items() if h > MOST_FLOORS} == {}


def test_the_package_is_lazy_and_has_the_names_to_start_with(tmp_path):
    run('-c', f'import sys, {PACKAGE}; assert not {{"torch", "numpy"}} & set(sys.modules)', cwd=tmp_path)
    run('-c', f'import {PACKAGE} as p; assert set(p.__all__) <= set(dir(p)); [getattr(p, name) for name in p.__all__]', cwd=tmp_path)
    run('-c', f'from {PACKAGE} import *; assert A.cells and callable(make_search)', cwd=tmp_path)


# Sizes

@pytest.mark.parametrize('module', MODULES)
def test_a_module_is_short(module): assert len(MODULES[module].read_text(encoding='utf-8').splitlines()) <= MOST_LINES


def test_a_class_has_a_dozen_methods_at_most(): assert {name: len(m) for name, m in methods().items() if len(m) > MOST_METHODS} == {}


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_has_few_cells_and_short_lines(name):
    assert len(all_cells(name)) <= MOST_CELLS
    assert [line for c in cells(name) for line in c.source.splitlines() if len(line) > WIDEST] == []


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_script_has_short_lines(path):
    assert [line for line in path.read_text(encoding='utf-8').splitlines() if len(line) > WIDEST] == []


# The story

@pytest.mark.parametrize('name', NOTEBOOKS)
def test_numbers_and_links_in_the_text_lead_to_notebooks(name):
    text = '\n'.join(c.source for c in all_cells(name))
    numbers = re.findall(r'\d+', ' '.join(re.findall(r'\bnotebooks? (\d+(?:(?:, | and | or | to |, and )\d+)*)', text)))
    assert [n for n in numbers if n not in NUMBERS.values()] == [], 'no notebook has this number'
    stems = {n.split('/')[-1] for n in NOTEBOOKS}
    assert [s for s in re.findall(r'(?<![/\w])\d{2,3}_[a-z]\w+', text) if s not in stems] == [], 'no notebook has this name'
    prose = '\n'.join(c.source for c in all_cells(name) if c.cell_type == 'markdown')
    links = re.findall(r'(?:\]\(|(?:href|src)=")(?![a-z]+:|[#/])([^)\s"#]+)', re.sub(r'```.*?```|`[^`\n]*`', '', prose, flags=re.DOTALL))
    assert [link for link in links if not (NOTEBOOKS[name].parent/unquote(link)).exists()] == [], 'these links lead nowhere'


@pytest.mark.parametrize('name', [n for n in NUMBERED if module_of(n).split('.')[0] in BEFORE_PRACTICE])
def test_the_story_does_not_speak_of_what_comes_with_practice(name):
    later = '|'.join(number for n, number in NUMBERS.items() if n.startswith('practice/'))
    found = re.findall(rf'.*(?:\bpractice[./]|\bnotebooks? (?:{later})\b).*', '\n'.join(c.source for c in all_cells(name)))
    assert found == []


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_the_first_cell_is_title_and_subtitle_alone(name):  # nbdev leaves anything else in it out of the website
    assert re.fullmatch(r'# .+\n+> .+', nbformat.read(NOTEBOOKS[name], 4).cells[0].source.strip())


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_is_small_and_saved_with_good_outputs(name):
    outputs = [o for c in cells(name) for o in c.outputs]
    assert outputs and 'error' not in [o.output_type for o in outputs]
    assert [o.text for o in outputs if o.get('name') == 'stderr' and 'Warning: ' in o.text] == []
    assert NOTEBOOKS[name].stat().st_size < MOST_KB * 1024


@pytest.mark.parametrize('name', NUMBERED)
def test_an_example_does_not_import(name):  # the website's build runs the cells that import, but not the examples before them
    for source in (c.source for c in cells(name) if not c.source.startswith('#| export')):
        tree = ast.parse(re.sub(r'^[!%].*', '', source, flags=re.MULTILINE))
        imports = any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(tree))
        runs = any(not isinstance(n, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)) for n in tree.body)
        assert not (imports and runs), f'move the imports to the notebook\'s import cell:\n{source}'


def test_the_readme_is_the_index_notebook(): run('.ci/readme.py', '--check')


def test_the_website_lists_every_notebook_in_order():
    sections = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['sidebar']['contents']
    first = [n for n in NUMBERED if module_of(n) not in LAST_TO_READ]
    story = ['index', *first, *(n for last in LAST_TO_READ for n in NOTEBOOKS if module_of(n) == last)]
    assert [page for s in sections for page in s['contents']] == [f'{n}.ipynb' for n in story]
    assert (ROOT/'nbs/_quarto.yml').resolve() == ROOT/'_quarto.yml'


def test_the_version_is_the_one_in_settings():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    assert f'__version__ = "{config["DEFAULT"]["version"]}"' in (ROOT/PACKAGE/'__init__.py').read_text(encoding='utf-8')


def test_the_versions_of_python_agree():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    versions = config['DEFAULT']['python_versions'].split()
    workflow = yaml.safe_load((ROOT/'.github/workflows/test.yml').read_text(encoding='utf-8'))
    tried = workflow['jobs']['test']['strategy']['matrix']['python']
    assert versions[0] == config['DEFAULT']['min_python'] == tried[0] and versions[-1] == tried[-1] and set(tried) <= set(versions)


def test_notebooks_run_in_this_python():
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('import sys; sys.prefix')])
    NotebookClient(nb, kernel_name='python3').execute()
    assert nb.cells[0].outputs[0].data['text/plain'] == repr(sys.prefix)


def test_no_module_imports_what_fastcore_2_lacks():
    "A plain install has fastcore 2, and the dev extra fastcore 1, whose `fastcore.script` also has `Param`."
    imports = re.compile(r'^from fastcore\.script import .*\bParam\b', re.MULTILINE)
    assert [path.name for path in (ROOT / PACKAGE).rglob('*.py') if imports.search(path.read_text())] == []

"The map of the project: notebooks, modules, README and website name the same things, and every module stands on its own."
import ast
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'autogan_nb'
NOTEBOOKS = {p.stem: p for p in sorted((ROOT/'nbs').glob('*.ipynb'))}
MODULES = {p.stem: p for p in sorted((ROOT/PACKAGE).glob('*.py')) if not p.stem.startswith('_')}
NUMBERED = [n for n in NOTEBOOKS if n != 'index']
MOST_KB, MOST_FLOORS = 400, 5


def run(*args, cwd=ROOT):
    "A fresh Python process without a GPU; its error is the test's message."
    done = subprocess.run([sys.executable, *args], cwd=cwd, env=os.environ | {'CUDA_VISIBLE_DEVICES': ''}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def cells(name):
    "A notebook's code cells."
    return [c for c in nbformat.read(NOTEBOOKS[name], 4).cells if c.cell_type == 'code']


def own_imports(module):
    "Every import of our own modules in one module, also those inside functions, as `(module, name)`."
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import): yield from ((a.name.split('.')[1], None) for a in node.names if a.name.startswith(f'{PACKAGE}.'))
        if not isinstance(node, ast.ImportFrom): continue
        base = '.'.join(filter(None, [PACKAGE if node.level else '', node.module]))
        if base == PACKAGE: yield from ((a.name, None) for a in node.names if a.name in MODULES)
        elif base.startswith(f'{PACKAGE}.'): yield from ((base.split('.')[1], a.name) for a in node.names)


def floors(module, below=()):
    "The height of a module in the import tree: 1 on the ground."
    assert module not in below, f"imports run in a circle: {' > '.join([*below, module])}"
    return 1 + max([floors(m, (*below, module)) for m in {m for m, _ in own_imports(module)}], default=0)


@pytest.mark.parametrize('module', MODULES)
def test_a_module_imports_alone(module, tmp_path): run('-c', f'import {PACKAGE}.{module}', cwd=tmp_path)


@pytest.mark.parametrize('module', MODULES)
def test_imports_are_by_name_and_the_tree_is_low(module):
    assert '*' not in {name for _, name in own_imports(module)}
    assert floors(module) <= MOST_FLOORS


@pytest.mark.parametrize('name', NUMBERED)
def test_a_notebook_has_its_module(name):
    module = name.split('_', 1)[1]
    assert [c.source.split()[2] for c in cells(name) if c.source.startswith('#| default_exp')] == [module]
    assert module in MODULES


def test_the_story_has_no_gap_and_modules_have_no_other_source():
    assert [int(n.split('_')[0]) for n in NUMBERED][:19] == list(range(19))
    assert sorted(n.split('_', 1)[1] for n in NUMBERED) == sorted(MODULES)


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_the_first_cell_is_title_and_subtitle_alone(name):  # nbdev leaves whatever else it holds out of the website
    assert re.fullmatch(r'# .+\n+> .+', nbformat.read(NOTEBOOKS[name], 4).cells[0].source.strip())


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_is_small_and_saved_with_good_outputs(name):
    outputs = [o.output_type for c in cells(name) for o in c.outputs]
    assert outputs and 'error' not in outputs
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
    assert [page for s in sections for page in s['contents']] == ['index.ipynb', *(f'{n}.ipynb' for n in NUMBERED)]
    assert (ROOT/'nbs/_quarto.yml').resolve() == ROOT/'_quarto.yml'


def test_the_version_is_the_one_in_settings():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    assert f'__version__ = "{config["DEFAULT"]["version"]}"' in (ROOT/PACKAGE/'__init__.py').read_text(encoding='utf-8')


def test_notebooks_run_in_this_python():
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('import sys; sys.prefix')])
    NotebookClient(nb, kernel_name='python3').execute()
    assert nb.cells[0].outputs[0].data['text/plain'] == repr(sys.prefix)

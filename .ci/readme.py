#!/usr/bin/env python3
"Make README.md from nbs/index.ipynb, as `nbdev_readme` does but without Quarto; --check: exit 1 with one sentence if they differ."
import re
import sys
from pathlib import Path
from posixpath import normpath

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
HEAD = '<!-- Made from nbs/index.ipynb by .ci/readme.py: edit the notebook, not this file. -->\n\n'
DIRECTIVE = re.compile(r'^#\|\s*(.*)\n?', re.MULTILINE)
LINK = re.compile(r'(\]\(|(?:src|href)=")(?![a-z]+:|[#/])([^)\s"]+)')
FENCE = re.compile(r'(^```.*?^```|`[^`\n]*`)', re.MULTILINE | re.DOTALL)


def from_root(text):
    "Rewrite relative links and pictures, which start from nbs/ in the notebook, to start from the root; leave code as it is."
    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(lambda m: m[1] + normpath(f'nbs/{m[2]}'), p) for p in parts[::2]]
    return ''.join(parts)


def shown(cell):
    "Return the cell as the README shows it, without directives; None for cells with `#| hide` or `#| default_exp`."
    if cell.cell_type == 'markdown': cell.source = from_root(cell.source)
    if cell.cell_type != 'code': return cell
    if {d.split()[0] for d in DIRECTIVE.findall(cell.source) if d} & {'hide', 'default_exp'}: return None
    cell.source = DIRECTIVE.sub('', cell.source).strip()
    return cell


def render(nb):
    "Return the files made from the notebook, contents by path: the README and the pictures among the cells' outputs."
    nb.cells = [c for c in map(shown, nb.cells) if c]
    nb.metadata.language_info = {'name': 'python'}
    text, more = MarkdownExporter().from_notebook_node(nb, {'unique_key': 'index', 'output_files_dir': 'nbs/images'})
    text = re.sub(r'!\[(?:png|svg)\]', '![what the cell shows]', text)
    text = re.sub(r'\n{3,}', '\n\n', re.sub(r'^[ \t]+$', '', text, flags=re.MULTILINE)).strip()
    return {'README.md': f'{HEAD}{text}\n'.encode(), **more['outputs']}


def main(check):
    "Write README.md and its pictures or, with `check`, compare them."
    files = render(nbformat.read(ROOT/'nbs/index.ipynb', 4))
    old = {f'nbs/images/{p.name}' for p in ROOT.glob('nbs/images/index_*')} - set(files)
    stale = [f for f in files if not (ROOT/f).exists() or (ROOT/f).read_bytes() != files[f]] + sorted(old)
    if check and stale: sys.exit(f"{', '.join(stale)}: out of step with nbs/index.ipynb; run `python .ci/readme.py` and commit the result.")
    (ROOT/'nbs/images').mkdir(exist_ok=True)
    for f in stale: (ROOT/f).unlink() if f in old else (ROOT/f).write_bytes(files[f])


if __name__ == '__main__': main(check='--check' in sys.argv[1:])

"Turn notebooks into pages of the website: tables of parameters, folded source code, links to Colab and GitHub, a Markdown copy."
import ast
import html
import inspect
import re
from importlib import import_module
from pathlib import Path

import nbformat
from execnb.nbio import mk_cell
from fastcore.docments import docments
from nbdev import showdoc
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.processors import FilterDefaults, Processor, add_fold, mv_exports, rm_export

EMPTY = inspect.Parameter.empty
NUMBERED = re.compile(r'\b\d+_(\w+)\.(?:html|ipynb)\b')


def notebooks(folder):
    "Return all notebooks of a folder and its rooms, in the order of their names."
    found = [n.relative_to(folder) for n in sorted(folder.rglob('*.ipynb'))]
    return [folder/n for n in found if not any(part.startswith(('.', '_')) for part in n.parts)]


def page_path(notebook):
    "Return the page of a notebook in nbs as nbdev names it, without its suffix: `gan/training` for `nbs/gan/25_training.ipynb`."
    path = notebook.relative_to('nbs')
    return path.with_name(re.sub(r'^\d+_', '', path.stem)).as_posix()


def module_path(notebook):
    "Return the path of a notebook's module, such as `autogan_nb/gan/training.py`; None if the notebook exports nothing."
    path = f'{get_config().lib_path.name}/{page_path(notebook)}.py'
    return path if (get_config().config_path/path).exists() else None


def raw_html(text):
    "Return HTML in a form that neither builder reads as Markdown."
    return f'```{{=html}}\n{text}\n```'


# The API: what nbdev writes for each exported name

def shown_type(anno):
    "Return an annotation without module names."
    text = anno if isinstance(anno, str) else inspect.formatannotation(anno)
    return re.sub(r'\b(?:\w+\.)+(?=\w)', '', text)


def with_code(text):
    "Return plain text as HTML; names in backticks become code, with a link if nbdev knows them."
    def code(m):
        url, name = NbdevLookup().doc(m[1]), f'<code>{m[1]}</code>'
        return f'<a href="{url}">{name}</a>' if url else name
    return re.sub(r'`([^`]+)`', code, html.escape(str(text), quote=False))


def shown_default(default):
    "Return a default value as in code; cut off a long one, if possible at its bracket."
    text = getattr(default, '__name__', None) or repr(default)
    if len(text) > 28: text = f"{text.split('(')[0]}(...)" if '(' in text[:28] else f'{text[:25]}...'
    return html.escape(text, quote=False)


def cells(name, doc):
    "Return the cells of one row of a table of parameters, from docments."
    anno, default = doc.get('anno', EMPTY), doc.get('default', EMPTY)
    known = anno not in (EMPTY, None, type(None))                    # docments takes the type of the default; that of None says nothing
    return [name, f'<code>{html.escape(shown_type(anno))}</code>' if known else '',
            '' if default is EMPTY else f'<code>{shown_default(default)}</code>', with_code(doc.get('docment') or '')]


def installed(sym):
    "Return the installed class for one that a cell has just defined, whose source `inspect` cannot find; other symbols as they are."
    found = NbdevLookup()[sym.__name__] if inspect.isclass(sym) else None
    return getattr(import_module(found[1].removesuffix('.py').replace('/', '.')), sym.__name__, sym) if found else sym


def told(text, parameters):
    "Split a comment such as `a, b: text; returns text` into texts by parameter; return them, and what is left."
    found, rest = {}, []
    for part in re.split(r'; ', text):
        names, _, about = part.partition(': ')
        names = ['return'] if part.startswith('returns ') else names.split(', ')
        about = part.removeprefix('returns ') if names == ['return'] else about
        if about and {*names} <= {*parameters, 'return'}: found |= dict.fromkeys(names, about)
        else: rest.append(part)
    return found, '; '.join(rest)


def documented(sym, parameters):
    "Return docments of parameters and result; a comment that names parameters is shared out among them."
    docs = docments(installed(sym), full=True, returns=True)
    for owner, doc in [*docs.items()]:
        found, rest = told(doc.get('docment') or '', parameters)
        if found: docs[owner] = doc | dict(docment=rest)
        for name, text in found.items(): docs[name] = docs.get(name, {}) | dict(docment=text)
    return docs


def parameter_table(sym, parameters):
    "Return names, types, defaults and docments of parameters and result as an HTML table; empty if nothing is documented."
    docs = documented(sym, parameters)
    if not any(d.get('docment') for d in docs.values()): return ''
    rows = [cells(f'<code>{p.replace(annotation=EMPTY, default=EMPTY)}</code>', docs.get(n, {})) for n, p in parameters.items()]
    if not inspect.isclass(sym) and 'return' in docs: rows.append(cells('<em>returns</em>', docs['return']))
    if rows and not any(rows[-1][1:]): rows.pop()
    if not rows: return ''
    rows.insert(0, ['Parameter', 'Type', 'Default', 'Details'])
    kept = [column for column in zip(*rows) if any(column[1:])]      # an empty column says nothing
    head, *body = (''.join(f'<td>{c}</td>' for c in r) for r in zip(*kept))
    return (f'<div class="api-table"><table class="table"><thead><tr>{head.replace("td>", "th>")}</tr></thead>'
            f'<tbody>{"".join(f"<tr>{r}</tr>" for r in body)}</tbody></table></div>')


class ApiEntry(showdoc.BasicMarkdownRenderer):
    "A heading, the short form of the call, a link to the source, the docstring and the table of parameters."
    def _repr_markdown_(self):
        parameters = {n: p for n, p in (self.sig.parameters if self.sig else {}).items() if n != 'self'}
        short = ', '.join(str(p.replace(annotation=EMPTY)) for p in parameters.values())
        if len(short) > 100: short = ', '.join(map(str, (p.replace(annotation=EMPTY, default=EMPTY) for p in parameters.values())))
        source = NbdevLookup().code(self.fn)
        link = f'<a class="api-source" href="{source}">source</a>' if source else ''
        said = '' if self.docs == type.__call__.__doc__ else self.docs               # inspect's answer where there is no docstring
        docs = ''.join(f'<p>{with_code(d)}</p>' for d in said.split('\n\n') if d)
        call = html.escape(self.nm + (f'({short})' if self.sig else ''), quote=False)
        table = parameter_table(self.sym, parameters)
        entry = f'<div class="api">{link}<p class="api-call"><code>{call}</code></p>{docs}{table}</div>'
        return f"{'#' * self.title_level} {self.nm}\n\n{raw_html(entry)}"


showdoc.BasicMarkdownRenderer = ApiEntry                    # `show_doc` looks its renderer up under this name


# The cells

def only_imports(source): return all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(source).body)


def defined(source):
    "Return the names of the functions, classes and values that a cell defines."
    nodes = ast.parse(source).body
    targets = [t for n in nodes for t in getattr(n, 'targets', [getattr(n, 'target', None)])]
    names = [n.name for n in nodes if hasattr(n, 'name')] + [x.id for t in targets if t for x in ast.walk(t) if isinstance(x, ast.Name)]
    return list(dict.fromkeys(names))


def fold_export(cell):
    "Keep exported code on the page, folded, because the text refers to it; nbdev would leave it out."
    exported = cell.cell_type == 'code' and {'export', 'exporti'} & (cell.directives_ or {}).keys()
    if not exported or 'hide' in cell.directives_ or only_imports(cell.source): return rm_export(cell)
    cell.source, cell.folded = f'#| code-fold: true\n#| code-summary: "Code: {", ".join(defined(cell.source)[:6])}"\n{cell.source}', True


def places(code):
    "Return the places to which nbdev's links to private names and to methods lead, to go before the code that defines them."
    classes = [n for n in ast.parse(code.source).body if isinstance(n, ast.ClassDef)]
    names = [n for n in defined(code.source) if n.startswith('_')]
    names += [f'{c.name}.{m.name}' for c in classes for m in c.body if isinstance(m, ast.FunctionDef)]
    return [mk_cell(raw_html(''.join(f'<span id="{n.lower()}"></span>' for n in names)), 'markdown')] if names else []


class code_after_api(Processor):
    "Put API entries in the order of their definitions (nbdev inserts them backwards), before the code that defines them."
    def end(self):
        cells, out = self.nb.cells, []
        while cells:
            code, entries = cells.pop(0), []
            folded = getattr(code, 'folded', False)
            while folded and cells and getattr(cells[0], 'has_sd', False): entries.insert(0, cells.pop(0))
            out += [*entries, *(places(code) if folded else []), code]
        cells[:] = out


class Pages(FilterDefaults):
    "nbdev's processors, some of them replaced by ours."
    def base_procs(self):
        ours = {rm_export: fold_export, add_fold: None, mv_exports: code_after_api}
        return [p for p in (ours.get(p, p) for p in super().base_procs()) if p]


# On every page

def links(notebook):
    "Return one line of HTML that links to where a page can be run and to its sources."
    config = get_config()
    file, module = f'{config.branch}/{notebook.as_posix()}', module_path(notebook)
    found = [('play-circle', 'Open in Colab', f'https://colab.research.google.com/github/{config.user}/{config.repo}/blob/{file}'),
             ('journal-code', 'Notebook', f'{config.git_url}/blob/{file}')]
    if module: found.append(('file-earmark-code', 'Source', f'{config.git_url}/blob/{config.branch}/{module}'))
    anchors = [f'<a href="{url}"><i class="bi bi-{icon}"></i> {name}</a>' for icon, name, url in found]
    note = f'<span class="page-links-note">On Colab, first run <code>!pip install git+{config.git_url}</code></span>'
    return raw_html(f'<div class="page-links">{" ".join(anchors)} {note}</div>')


def add_links(page, notebook):
    "Put the line of links below the title of a page that nbdev has prepared."
    nb = nbformat.read(page, 4)
    nb.cells.insert(1, nbformat.v4.new_markdown_cell(links(notebook), id='page-links'))
    nbformat.write(nb, page)


# For language models: https://llmstxt.org

def title_and_subtitle(nb): return re.fullmatch(r'# (.+)\n+> (.+)', nb.cells[0].source.strip()).groups()


def plain_output(output):
    "Return an output's text, fenced; empty for pictures."
    text = output.get('text') or (output.get('data') or {}).get('text/plain', '')
    picture = any(k.startswith('image/') for k in output.get('data') or {})
    return '' if picture or not text else f'```\n{text.rstrip()}\n```'


def as_markdown(nb):
    "Return a notebook with all its code as Markdown, without pictures; links lead to the other Markdown copies."
    parts = []
    for cell in nb.cells:
        if cell.cell_type != 'code': parts.append(NUMBERED.sub(r'\1.html.md', cell.source))
        else: parts += [f'```python\n{cell.source}\n```', *map(plain_output, cell.outputs)]
    return '\n\n'.join(p for p in parts if p.strip()) + '\n'


def llms_line(path, nb, site):
    "Return one line of the index for language models: a page, what it is about, its module."
    notebook = Path('nbs', path)
    (name, about), module = title_and_subtitle(nb), module_path(notebook)
    dotted = f" (`{module.removesuffix('.py').replace('/', '.')}`)" if module else ''
    return f'- [{name}]({site}/{page_path(notebook)}.html.md): {about}{dotted}'


def llms_txt(sections, notebooks, site):
    "Return the index for language models: what this is, then one line for each page, in the `sections` of the sidebar."
    title, subtitle = title_and_subtitle(notebooks['index.ipynb'])
    lines = [f'# {title}', '', f'> {get_config().description}. {subtitle}.', '',
             f'Python package `{get_config().lib_path.name}`, one module for each notebook. Source: {get_config().git_url}', '']
    for section in sections:
        lines += [f"## {section['section']}", '', *(llms_line(c, notebooks[c], site) for c in section['contents'] if c in notebooks), '']
    return '\n'.join(lines)

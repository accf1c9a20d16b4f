"""Test the website in a real browser: every page of the sidebar loads, is legible and fits, in light and dark, on a screen and a phone.

The site is served on loopback; no other address is contacted."""
import ast
import functools
import gzip
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import nbformat
import pytest
import yaml

from browsers import cannot

ROOT = Path(__file__).resolve().parent.parent
SIDEBAR = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['sidebar']['contents']
PAGES = [c.removesuffix('.ipynb') for s in SIDEBAR for c in s['contents']]
NOTEBOOKS = {str(Path(p).with_name(re.sub(r'^\d+_', '', Path(p).name))): ROOT/f'nbs/{p}.ipynb' for p in PAGES}  # by page: gan/training
STORY = [f'{name}.html' for name in NOTEBOOKS]
MODULES = [name for name, path in NOTEBOOKS.items() if path.stem not in ('index', 'extend')]
GITHUB = 'https://github.com/autogan-nb/autogan_nb/blob/main'
COLAB = 'https://colab.research.google.com/github/autogan-nb/autogan_nb/blob/main'
MOST_MB, WIDE, PHONE = 1.5, 1280, 390
KATEX = re.compile(r'https://cdn\.jsdelivr\.net/npm/katex@([\w.]+)/dist/(.+)')         # smalldocs names a version, Quarto's pandoc `latest`
DEBIAN_KATEX = Path('/usr/share/javascript/katex')
TEXT = ('.html', '.css', '.js', '.json', '.svg', '.txt', '.md', '.xml')


# The site, a server and a browser

SOURCES = ('nbs/**/*.ipynb', 'nbs/*.css', 'nbs/images/*', 'nbs/results/*.html', 'autogan_nb/**/*.py', '_quarto.yml', 'settings.ini',
           '.ci/*')


def newest(*patterns): return max(f.stat().st_mtime for p in patterns for f in ROOT.glob(p))


@pytest.fixture(scope='module')
def docs():
    "Return the folder of the site; build it if it is missing or older than its sources."
    if not (shutil.which('quarto') or importlib.util.find_spec('smalldocs')): pytest.skip('no Quarto, and smalldocs needs Python 3.11')
    made = ROOT/'_docs/llms.txt'
    if not made.exists() or made.stat().st_mtime < newest(*SOURCES):
        done = subprocess.run([sys.executable, '.ci/docs'], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and 'warning' not in done.stderr, done.stderr
    return ROOT/'_docs'


class Handler(http.server.SimpleHTTPRequestHandler):
    "Send text compressed, as GitHub Pages does, and count the bytes that are sent."
    sent = 0

    def log_message(self, *args): pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.is_dir(): path /= 'index.html'
        if not path.is_file(): return self.send_error(404)
        body = path.read_bytes()
        if path.suffix in TEXT: body = gzip.compress(body, 6)
        Handler.sent += len(body)
        self.send_response(200)
        self.send_header('Content-Type', self.guess_type(str(path)))
        self.send_header('Content-Length', str(len(body)))
        if path.suffix in TEXT: self.send_header('Content-Encoding', 'gzip')
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope='module')
def address(docs):
    "Serve the site on a free port of this machine; yield its address."
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(docs)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()


@pytest.fixture(scope='module')
def katex():
    "Return a function that finds a file of KaTeX's distribution: from npm, kept between sessions, or from Debian's package."
    kept = ROOT/'.pytest_cache/katex'
    kept.mkdir(parents=True, exist_ok=True)

    @functools.cache
    def dist(version):
        folder, new = kept/version, kept/f'{version}.{os.getpid()}'
        if not folder.exists() and shutil.which('npm'):
            new.mkdir()
            done = subprocess.run(['npm', 'pack', f'katex@{version}', '--silent'], cwd=new, capture_output=True, text=True)
            if done.returncode == 0:
                with tarfile.open(next(new.glob('katex-*.tgz'))) as tar: tar.extractall(new, filter='data')
                new.rename(folder)                                   # whole or not at all
        if folder.exists(): return folder/'package/dist'
        if DEBIAN_KATEX.exists(): return DEBIAN_KATEX
        cannot('no KaTeX: neither `npm pack katex` nor the Debian package libjs-katex')

    def find(version, file): return next(f for f in (dist(version)/file, dist(version)/file.replace('.min', '')) if f.exists())

    return find


class Reader:
    "A browser page on the site that records errors, requests to other addresses and bytes sent."
    def __init__(self, browser, address, katex, **options):
        self.address, self.katex = address, katex
        self.page = browser.new_context(viewport=dict(width=WIDE, height=900), **options).new_page()
        self.page.on('console', lambda m: self.complaints.append(m.text) if m.type == 'error' else None)
        self.page.on('pageerror', lambda e: self.complaints.append(str(e)))
        self.page.route('**/*', self.answer)
        self.page.context.new_cdp_session(self.page).send('Network.setCacheDisabled', {'cacheDisabled': True})

    def answer(self, route):
        url, found = route.request.url, KATEX.fullmatch(route.request.url)
        if url.startswith((self.address, 'data:')): return route.continue_()
        if not found:
            self.outside.append(url)
            return route.abort()
        file = self.katex(*found.groups())
        self.extra += len(gzip.compress(file.read_bytes(), 6))
        route.fulfill(path=file)

    def open(self, name):
        "Load a page and wait until everything on it is loaded."
        self.complaints, self.outside, self.extra, Handler.sent = [], [], 0, 0
        answer = self.page.goto(urljoin(self.address, name), wait_until='load')
        assert answer.ok, f'{name}: {answer.status}'
        self.page.evaluate('document.fonts.ready.then(() => 0)')
        return self.page

    def background(self): return self.page.evaluate('getComputedStyle(document.body).backgroundColor')


@pytest.fixture(scope='module')
def reader(chromium, address, katex): return Reader(chromium, address, katex, color_scheme='light')


# Every page is visited once; the tests check what was found there

# Quarto's script makes addresses within the site absolute and cuts off `index.html`; smalldocs leaves them as written.
# `at` gives both one form.
LOOK = r'''() => {
  const at = a => a.origin === location.origin ? (a.pathname.slice(1) || 'index.html') + a.hash : a.getAttribute('href');
  const all = (q, f) => [...document.querySelectorAll(q)].map(f), text = document.querySelector('main').cloneNode(true);
  text.querySelectorAll('pre, code, .katex, script, style, svg').forEach(e => e.remove());
  return {links: all('a[href]', at), ids: all('[id]', e => e.id), icons: all('link[rel=icon]', l => l.href),
          pictures: all('img', i => [i.getAttribute('src').slice(0, 80), i.complete && i.naturalWidth > 0]),
          equations: all('main .katex', e => 1).length, wrong: all('.katex-error', e => e.textContent),
          raw: text.textContent.match(/\$[^$\n]+\$|\\[([]/g) || [],
          row: all('.page-links a', a => a.href), before: all('.nav-page-previous a', at), after: all('.nav-page-next a', at),
          api: all('.api-call', p => p.textContent.trim().split('(')[0]), tables: all('.api-table', t => 1).length,
          sidebar: all('#quarto-sidebar a.sidebar-link[href]', at), body: text.textContent.length}}'''

# What sticks out of the column of text is cut off or covers something, unless it scrolls in a box of its own.
# Answers and code are unfolded.
TOO_WIDE = r'''() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const main = document.querySelector('main'), edge = Math.min(main.getBoundingClientRect().right, innerWidth) + 1;
  const scrolls = e => getComputedStyle(e).overflowX !== 'visible';
  const boxed = e => { for (e = e.parentElement; e !== main; e = e.parentElement) if (scrolls(e)) return true };
  const sticks = e => e.getBoundingClientRect().right > edge && !e.parentElement.closest('svg, .katex') && !boxed(e);
  const named = e => `${e.tagName}.${e.className}: ${e.textContent.slice(0, 60)}`;
  const out = [...main.querySelectorAll('*')].filter(sticks).slice(0, 5).map(named);
  return [...(document.documentElement.scrollWidth > innerWidth ? ['the page scrolls sideways'] : []), ...out]}'''


@pytest.fixture(scope='module')
def visit(reader):
    "Return a function that visits a page, given its name, and returns what it found there."
    @functools.cache
    def look(name):
        page = reader.open(name)
        found = page.evaluate(LOOK) | dict(complaints=reader.complaints, outside=reader.outside, bytes=Handler.sent + reader.extra)
        found['wide'] = page.evaluate(TOO_WIDE)
        page.set_viewport_size(dict(width=PHONE, height=844))
        found['narrow'] = page.evaluate(TOO_WIDE)
        page.set_viewport_size(dict(width=WIDE, height=900))
        return found
    return look


def markdown(name):
    "Return the prose of a page's notebook without its code."
    text = '\n'.join(c.source for c in nbformat.read(NOTEBOOKS[name], 4).cells if c.cell_type == 'markdown')
    return re.sub(r'```.*?```|`[^`\n]+`', '', text, flags=re.DOTALL)


@pytest.mark.parametrize('name', STORY)
def test_a_page_loads_without_a_complaint_and_alone(visit, name):
    found = visit(name)
    assert found['body'] > 500
    assert found['complaints'] == found['outside'] == []


@pytest.mark.parametrize('name', STORY)
def test_a_page_is_small(visit, name):
    assert visit(name)['bytes'] < MOST_MB * 1e6


@pytest.mark.parametrize('name', STORY)
def test_no_link_and_no_picture_is_broken(visit, docs, name):
    found = visit(name)
    assert [src for src, shown in found['pictures'] if not shown] == []
    for link in found['links']:
        path, part = urldefrag(link.removeprefix(f'{GITHUB}/'))
        if link.startswith(GITHUB): assert (ROOT/path).exists(), f'{link}: no such file here'
        if re.match(r'[a-z]+:', link) or not (path or part): continue
        assert not path or (docs/unquote(path)).exists(), f'{link} leads nowhere'
        if part: assert unquote(part) in visit(path or name)['ids'], f'{link}: no such place on that page'


@pytest.mark.parametrize('name', STORY)
def test_equations_are_drawn(visit, name):
    found = visit(name)
    assert found['wrong'] == found['raw'] == []
    assert bool(found['equations']) == bool(re.search(r'\$[^$\n]+\$', markdown(name.removesuffix('.html'))))


@pytest.mark.parametrize('name', STORY)
def test_a_page_fits_a_screen_and_a_phone(visit, name): assert visit(name)['wide'] == visit(name)['narrow'] == []


@pytest.mark.parametrize('name', STORY)
def test_a_page_can_be_run_and_its_sources_read(visit, name):
    page = name.removesuffix('.html')
    file = NOTEBOOKS[page].relative_to(ROOT).as_posix()
    wanted = [f'{COLAB}/{file}', f'{GITHUB}/{file}', f'{GITHUB}/autogan_nb/{page}.py']
    assert visit(name)['row'] == wanted[:3 if page in MODULES else 2]


@pytest.mark.parametrize('name', STORY)
def test_the_story_goes_on(visit, name):
    found, i = visit(name), STORY.index(name)
    assert found['sidebar'] == STORY
    assert (found['before'], found['after']) == (STORY[max(0, i - 1):i], STORY[i + 1:i + 2])


def exported(module):
    "Return the names of the functions and classes that a module exports."
    tree = ast.parse((ROOT/f'autogan_nb/{module}.py').read_text(encoding='utf-8'))
    names = next((ast.literal_eval(n.value) for n in tree.body if ast.unparse(n).startswith('__all__ = ')), [])
    return {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name in names}


@pytest.mark.parametrize('module', MODULES)
def test_every_exported_name_is_described(visit, module):
    found = visit(f'{module}.html')
    assert exported(module) <= set(found['api'])
    assert found['tables'] or not found['api'], 'no table of parameters on the page'


def test_a_comment_about_one_parameter_stands_in_its_row(docs):
    page = (docs/'strategies/evolution.html').read_text(encoding='utf-8')
    entry = page[page.index('oldest(population)'):]
    rows = [re.sub(r'<[^>]+>', ' ', row).split() for row in re.findall(r'<tr>(.*?)</tr>', entry[:entry.index('</table>')])]
    assert [row[0] for row in rows] == ['Parameter', 'population', 'returns']
    assert rows[1][-2:] == ['oldest', 'first'] and rows[2][-2:] == ['its', 'position']


def test_the_fields_of_settings_are_described(reader):
    entry = reader.open('gan/configs.html').locator('.api', has_text='GANConfig(').first
    assert 'g_width' in entry.inner_text() and 'channels of the generator' in entry.inner_text()


def test_the_first_page_moves_within_its_budget(visit, docs, chromium, address, katex):
    # Quarto has the logo twice, for light and dark
    pictures = dict.fromkeys(src.removeprefix('./') for src, _ in visit('index.html')['pictures'])
    assert list(pictures)[:2] == ['images/logo.svg', 'images/growth.gif']
    assert (docs/'images/growth.gif').stat().st_size < 300_000
    assert visit('index.html')['icons'][0].endswith('images/logo.svg') and (docs/'images/logo.svg').stat().st_size < 2000
    still = Reader(chromium, address, katex, reduced_motion='reduce').open('index.html')
    assert 'growth.png' in still.evaluate("getComputedStyle(document.querySelector('img[src$=\"growth.gif\"]')).content")


def test_the_page_of_a_run_stands_alone_and_fits(visit, docs):
    found = visit('results/report.html')
    assert found['complaints'] == found['outside'] == found['wide'] == found['narrow'] == []
    assert len(found['pictures']) > 6 and all(shown for _, shown in found['pictures'])
    assert found['bytes'] < MOST_MB * 1e6
    assert '<pre>autogan_search</pre>' in (docs/'results/report.html').read_text()


def test_search_finds_the_dynamic_reset(reader):
    page = reader.open('index.html')
    page.fill('#quarto-search input', 'dynamic reset')
    first = page.locator('a.search-result, a.search-result-link').first           # in smalldocs, in Quarto
    first.wait_for()
    assert 'Dynamic reset' in first.inner_text()
    first.click()
    page.wait_for_url(re.compile(r'/search/dynamic_reset\.html'))
    assert 'Dynamic reset' in page.inner_text('main h1')


def brightness(color): return sum(map(float, re.findall(r'[\d.]+', color)[:3])) / 3


def test_dark_mode_switches_and_stays(reader, chromium, address, katex):
    page = reader.open('gan/losses.html')
    assert brightness(reader.background()) > 240
    page.click('.quarto-color-scheme-toggle')
    page.wait_for_function("getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)'")
    assert brightness(reader.background()) < 50
    reader.open('gan/layers.html')
    assert brightness(reader.background()) < 50
    page.click('.quarto-color-scheme-toggle')
    page.wait_for_function("getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
    night = Reader(chromium, address, katex, color_scheme='dark')
    night.open('gan/losses.html')
    assert brightness(night.background()) < 50


CONTRAST = r'''() => {
  const rgb = c => { const n = c.match(/[\d.]+/g).slice(0, 3).map(Number); return c.startsWith('color(') ? n.map(x => 255 * x) : n };
  const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const lit = c => rgb(c).map(linear).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\)|transparent/.test(c)) return c }
    return 'rgb(255, 255, 255)' };
  const places = 'main pre code span, main p, main h2, main td, main th, main summary, main .api-call code, ' +
                 '.page-links *, #quarto-sidebar a, #TOC a, footer a, .navbar-title', weak = {};
  document.querySelectorAll(places).forEach(e => {
    const color = getComputedStyle(e).color, text = e.textContent.trim().slice(0, 20), [a, b] = [lit(color), lit(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5 && text) weak[`${e.tagName}.${e.className} ${text} ${color} on ${behind(e)}`] = ratio.toFixed(2) });
  return Object.entries(weak).slice(0, 8) }'''


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_and_code_stand_out(chromium, address, katex, scheme):
    "The contrast is at least 4.5 to 1, as WCAG requires for text."
    reader = Reader(chromium, address, katex, color_scheme=scheme)
    names = ('index.html', 'gan/layers.html', 'bench/table.html')
    assert {name: weak for name in names if (weak := reader.open(name).evaluate(CONTRAST))} == {}


def test_llms_txt_names_every_module(docs):
    text = (docs/'llms.txt').read_text(encoding='utf-8')
    assert re.match(r'# autogan_nb\n\n> .+\n', text)
    assert re.findall(r'^## (.+)$', text, re.MULTILINE) == [s['section'] for s in SIDEBAR]
    line = r'^- \[.+?\]\(https://autogan-nb\.github\.io/autogan_nb/([\w/]+)\.html\.md\): \S.+?(?:\(`autogan_nb\.([\w.]+)`\))?$'
    assert re.findall(line, text, re.MULTILINE) == [(name, name.replace('/', '.') if name in MODULES else '') for name in NOTEBOOKS]


def test_markdown_copies_link_to_each_other(docs):
    for name, path in NOTEBOOKS.items():
        copy = docs/f'{name}.html.md'
        text = copy.read_text(encoding='utf-8')
        assert text.startswith(nbformat.read(path, 4).cells[0].source.strip())
        for link in re.findall(r'\]\(([^):#]+\.html\.md)', text): assert (copy.parent/link).exists(), f'{copy}: {link} leads nowhere'

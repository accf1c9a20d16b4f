"Test the page of all runs: what it must not show or do, by raw HTTP; broken and many runs; the command; the page in a real browser."
import json
import os
import shutil
import signal
import socket
import threading
import time
from http.client import HTTPConnection

import pytest
from PIL import Image
from survival import Running, run
from test_site import CONTRAST

from autogan_nb.many.run_views import RunView, find_runs, state_of
from autogan_nb.many.runs_page import RunsPage, make_server
from autogan_nb.practice import report
from autogan_nb.practice.jobs import new_run
from autogan_nb.practice.presets import configure
from autogan_nb.practice.runs import RunFolder

A, B = 'pre-none-nearest-sc,post-batch-deconv-s0', 'post-batch-deconv,pre-none-nearest-sc'
SCRIPT = '<img src=x onerror=alert(1)><script>alert(2)<'
QUOTES = 'a "b" \'c\' & d?e=f#g%41 ü'


def train(run, first, last, every=20):
    "Log some steps of a training of 400."
    for step in range(first, last + 1, every):
        losses = dict(d_loss=1 + 9 / step, g_loss=.8)
        run.log(kind='train', name='trained', step=step, **losses)
        run.scalars(step, **{f'train/trained/{name}': value for name, value in losses.items()})
        if step % 100 == 0: run.log(kind='eval', name='trained', step=step, best=True, score=3., fid=4000 / step + run.config['seed'])


def make(path, seed=0, steps=200, arch=A, **more):
    "Write the folder of a training."
    with new_run(path, configure('paper-digits', size=16, steps=400, **more), seed, arch=arch, command=f'autogan_train {seed}') as run:
        train(run, 20, steps)
    (path/'samples/training').mkdir(parents=True)
    Image.new('L', (142, 70), 99).save(path/'samples/training/trained-0000200.png')
    return path


@pytest.fixture(scope='module')
def template(tmp_path_factory):
    "Make a folder with runs of all kinds."
    root = tmp_path_factory.mktemp('template')/'runs'
    make(root/'one')
    make(root/'deep/two', 1, 400, B, g_width=8)
    make(root/SCRIPT, 2)
    make(root/QUOTES, 3)
    for name in ('leaky', 'pictures', 'page'): shutil.copytree(root/'one', root/name)
    return root


@pytest.fixture
def root(template, tmp_path):
    "Copy these runs, and put a secret beside them, with links to it."
    root = shutil.copytree(template, tmp_path/'runs')
    (tmp_path/'secret.txt').write_text('SECRET')
    outside = shutil.copytree(root/'one', tmp_path/'outside/run')
    config = json.loads((outside/'config.json').read_text())
    (outside/'config.json').write_text(json.dumps(config | dict(config=config['config'] | dict(command='SECRET'))))
    (root/'link').symlink_to(outside)
    (root/'leaky/config.json').unlink()
    (root/'leaky/config.json').symlink_to(outside/'config.json')
    (root/'pictures/samples/training/trained-0000400.png').symlink_to(tmp_path/'secret.txt')
    (root/'page/report.html').symlink_to(tmp_path/'secret.txt')
    return root


@pytest.fixture
def server(root):
    "Serve these runs on a free port."
    with make_server(root, port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def raw(server, line, *headers):
    "Send a request as it stands; return the answer as bytes."
    with socket.create_connection(server.server_address[:2], timeout=20) as s:
        text = '\r\n'.join([f'{line} HTTP/1.0', *(headers or ['Host: localhost']), '', ''])
        s.sendall(line if isinstance(line, bytes) else text.encode())
        found = b''
        while part := s.recv(65536): found += part
    return found


def get(server, target='/', method='GET', **headers):
    connection = HTTPConnection(*server.server_address[:2], timeout=60)
    connection.request(method, target, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read().decode(errors='replace')


def state(root): return {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in root.rglob('*') if f.is_file() and f.name != 'lock'}


# Safety

ELSEWHERE = ['/../secret.txt', '/run/../../secret.txt', '/run/../secret.txt', '/run/%2e%2e/secret.txt', '/run/..%2fsecret.txt',
             '/run/..%252fsecret.txt',
             '/run/one/../../secret.txt', '/run/one%2f..%2f..%2fsecret.txt', '/samples/../secret.txt', '/picture/..%2fsecret.txt',
             '/report/..%2fsecret.txt',
             '/run/..\\secret.txt', '/run/..%5csecret.txt', '/secret.txt', '//secret.txt', '/run//etc/passwd', '/run/%2fetc%2fpasswd',
             '//etc/passwd',
             '/etc/passwd', 'file:///etc/passwd', 'http://localhost/../secret.txt', '/run/one%00', '/run/one%00.html', '/run/%00',
             '/one/config.json',
             '/run/one/config.json', '/samples/one/../../secret.txt', '/run/link', '/samples/link', '/run/link/config.json', '/run/',
             '/run/%ff%fe',
             '/compare/one', '/run', '/[', '/run/one;/../../secret.txt', '/static/one', '/samples/pictures/trained-0000400.png']


def test_nothing_outside_is_reachable(server):
    for line in (f'{method} {target}' for target in ELSEWHERE for method in ('GET', 'HEAD')):
        answer = raw(server, line)
        assert answer.split()[1] == b'404' and b'SECRET' not in answer and b'root:' not in answer, line


def test_links_out_of_the_folder_are_not_followed(server, root):
    table = get(server)[2]
    assert 'config.json is a link that leads out' in table and 'SECRET' not in table and '>link<' not in table
    for page in ('/run/leaky', '/run/pictures', '/samples/pictures', '/picture/pictures'): assert 'SECRET' not in get(server, page)[2]
    assert raw(server, 'GET /samples/pictures').endswith((root/'pictures/samples/training/trained-0000200.png').read_bytes())
    get(server, '/report/page')
    end = time.monotonic() + 60
    while 'being drawn' in (page := get(server, '/report/page')[2]) and time.monotonic() < end: time.sleep(.1)
    assert 'a link leads out of the folder' in page and 'SECRET' not in page


def test_it_only_reads(server, root):
    before = state(root)
    for method in ('POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'):
        for target in ('/', '/run/one', '/report/one'): assert raw(server, f'{method} {target}').split()[1] == b'405'
    assert raw(server, 'BREW /').split()[1] == b'501'
    for target in ('/', '/run/one', '/compare?run=one&run=deep/two', '/samples/one'):
        head, whole = raw(server, f'HEAD {target}'), raw(server, f'GET {target}')
        assert head.split()[1] == whole.split()[1] == b'200' and head.endswith(b'\r\n\r\n') and len(whole) > len(head)
    assert state(root) == before
    assert b'400' in raw(server, b'\x00\xff a request of many words\r\n\r\n')
    assert raw(server, f'GET /{"x" * 100_000}').split()[1] == b'414' and get(server)[0] == 200


def test_names_are_text_and_pages_load_nothing_from_elsewhere(server, root):
    for target in ['/', '/compare?run=one&run=deep/two'] + [f'/run/{name}' for name in ('one', 'deep/two')]:
        status, headers, page = get(server, target)
        assert status == 200 and page.count('<script') == 1 and '<img src=x' not in page
        assert 'http' not in page.replace('http://www.w3.org/', '') and '@import' not in page
        assert "default-src 'none'" in headers['Content-Security-Policy']
        assert "'unsafe-inline'; img-src" in headers['Content-Security-Policy']
    for name in (SCRIPT, QUOTES):
        links = [line.split('"')[0] for line in get(server)[2].split('href="')[1:]]
        found = [get(server, link)[2] for link in links if link.startswith('/run/')]
        assert sum(f'<h1>{report.html.escape(name)}</h1>' in page for page in found) == 1


def test_only_a_local_name_is_answered_on_loopback(server):
    for host in ('localhost', '127.0.0.1:80', '[::1]:8000', 'LOCALHOST'):
        assert raw(server, 'GET /', f'Host: {host}').split()[1] == b'200', host
    for host in ('evil.example', '127.0.0.1.evil.example', '', '10.0.0.1', '[:::'):
        assert raw(server, 'GET /', f'Host: {host}').split()[1] in (b'403', b'400'), host


def test_a_page_that_has_not_changed_is_not_sent_again(server):
    _, headers, page = get(server, '/samples/one')
    assert get(server, '/samples/one', **{'If-None-Match': headers['ETag']})[::2] == (304, '')


# Runs of all kinds

BROKEN = {'config.json': ['', '{', '[]', '{"config": 1}', '{"config": {"preset": []}, "versions": {}}',
                          '{"config": {"preset": {}}, "versions": {}}', '\x00\xff',
                          '[' * 100_000],
          'log.jsonl': ['null\n', '{\n', '\x00\xff\n', '{"kind": "train"}\n', '{"kind": "eval", "name": 1, "step": "x", "fid": "y"}\n',
                        '{"kind": "search"}\n'],
          'scores.json': ['[]', '{', 'null', '{"trained": 1}', '{"trained": {"fid": "x"}}'],
          'architectures.json': ['{', 'null', '[1]', '[{"name": "x", "arch": "unknown"}]']}


@pytest.mark.parametrize('name', BROKEN)
def test_a_broken_run_breaks_no_page(template, tmp_path, name):
    for i, text in enumerate(['', *BROKEN[name]]):
        run = shutil.copytree(template/'one', tmp_path/(f'bad{i - 1}' if i else 'good'))
        if i: (run/name).write_text(text)
    site = RunsPage(tmp_path)
    table = site.answer('/').body.decode()
    assert site.answer('/').status == 200 and '<td class="state" data-value="stopped">' in table
    for i in range(len(BROKEN[name])):
        page = site.answer(f'/run/bad{i}')
        assert page.status == 200 and site.answer(f'/compare?run=good&run=bad{i}').status == 200
    if name == 'config.json': assert table.count('data-value="cannot be read"') == len(BROKEN[name])


def test_a_damaged_picture_is_left_out(root):
    (root/'one/samples/training/trained-0000400.png').write_bytes(b'no picture')
    assert RunsPage(root).answer('/picture/one')[:2] == (200, 'image/svg+xml')
    assert RunsPage(root).answer('/picture/page').kind == 'image/png'


def test_a_real_run_finished_and_going(whole, tmp_path):
    path = shutil.copytree(whole.path, tmp_path/'runs/real')
    view = RunView('real', path, tmp_path/'runs')
    records = json.loads((path/'scores.json').read_text())
    assert (state_of(view), view.why, view.phase.what) == ('finished', '', 'done')
    assert view.best[0].value == records[next(iter(view.archs))]['fid'] and view.best[0].title == 'digit FID'
    (path/'scores.json').unlink(); (path/'architectures.json').unlink()
    view = RunView('real', path, tmp_path/'runs')
    assert (state_of(view), view.phase[:3]) == ('stopped', ('training', 40, 40))
    with RunFolder.open(path).claim(): assert state_of(view) == 'running'
    lines = (path/'log.jsonl').read_text().splitlines(True)
    (path/'log.jsonl').write_text(''.join(line for line in lines if '"search"' in line))
    view = RunView('real', path, tmp_path/'runs')
    assert view.phase.what == 'training' and view.best[0].what == 'with shared weights' and RunsPage(path).answer('/run/real').status == 200
    (path/'log.jsonl').write_text(''.join([line for line in lines if '"search"' in line][:2]))
    view = RunView('real', path, tmp_path/'runs')
    assert (view.phase.text, view.phase.then) == ('iteration 2 of 6', '2 trainings')


def test_two_hundred_runs(template, tmp_path):
    for i in range(200): shutil.copytree(template/'one', tmp_path/f'run{i}')
    site = RunsPage(tmp_path)
    assert site.answer('/').body.count(b'<tr id=') == 200
    times = []
    for _ in range(5):
        site.again, begin = 0, time.monotonic()
        site.answer('/')
        times.append(time.monotonic() - begin)
    assert min(times) < .5, times


def test_a_page_is_made_once_per_change(root, monkeypatch):
    drawn, site = [], RunsPage(root)
    def write_report(path, out):
        drawn.append(path)
        time.sleep(.3)
        out.write_text(f'report {len(drawn)}')
        return out
    monkeypatch.setattr(report, 'write_report', write_report)
    def settled():
        end = time.monotonic() + 20
        while b'being drawn' in (body := site.answer('/report/one').body) and time.monotonic() < end: time.sleep(.02)
        return body.decode()
    threads = [threading.Thread(target=settled) for _ in range(5)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert settled() == 'report 1' and len(drawn) == 1
    with RunFolder.open(root/'one') as run: train(run, 220, 220)
    site.again = 0
    assert settled() == 'report 1', 'while a run goes on, its report stays for a minute'
    site.reports['one'] = site.reports['one']._replace(since=time.monotonic() - 61)
    assert settled() == settled() == 'report 2' and len(drawn) == 2
    curves, make_curves = [], site.once
    site.once = lambda kind, views, make: make_curves(kind, views, lambda: curves.append(kind) or make())
    for _ in range(3): site.answer('/run/one'), site.answer('/compare?run=one&run=deep/two')
    assert curves == ['run', 'compare']


# The command

def test_the_command(root, tmp_path):
    running = Running(['autogan_report', root, '--serve', '--port', 0], tmp_path/'process')
    try:
        end = time.monotonic() + 60
        while not running.out.endswith('\n') and time.monotonic() < end: time.sleep(.05)
        address = running.out.split()[0]
        assert running.out == f'{address}  all runs in {root}; Ctrl-C ends it\n' and address.startswith('http://127.0.0.1:')
        connection = HTTPConnection(address.split('/')[2], timeout=60)
        connection.request('GET', '/')
        assert connection.getresponse().status == 200
        port = address.rstrip('/').split(':')[-1]
        code, out, err = run(['autogan_report', root, '--serve', '--port', port], tmp_path/'other')
        assert (code, out, err) == (2, '', f'autogan_report: port {port} is in use: give another --port, or 0 for a free one\n')
        os.kill(running.pid, signal.SIGINT)
        assert (running.wait(30), running.err) == (130, '')
    finally: running.process.kill()


@pytest.mark.parametrize('words, said', [
    ('nowhere --serve', "'nowhere' does not exist: expected a folder of runs"),
    ('file --serve', "'file' is a file: expected a folder of runs"),
    ('. --serve --port 70000', '--port is 70000, expected 0 to 65535'), ('. --serve --port x', "--port is 'x'"),
    ('. --serve --host 192.0.2.1', "--host is '192.0.2.1', which is not an address of this machine"),
    ('. --serve --host nobody.invalid', "--host is 'nobody.invalid', which is not a name"),
    ('. --serve --out page.html', '--out is for one page, not for --serve'), ('. --port 0', '--port is for pages shown with --serve')])
def test_mistakes_get_one_sentence(tmp_path, words, said):
    (tmp_path/'file').touch()
    code, out, err = run(['autogan_report', *words.split()], tmp_path)
    assert (code, out) == (2, '') and err.startswith('autogan_report: ') and said in err and len(err.splitlines()) == 1, err


def test_a_host_that_others_reach_is_warned_of(root, tmp_path):
    running = Running(['autogan_report', root, '--serve', '--host', '0.0.0.0', '--port', 0], tmp_path/'process')
    try:
        end = time.monotonic() + 60
        while not running.out.endswith('\n') and time.monotonic() < end: time.sleep(.05)
        assert running.err == 'autogan_report: warning: whoever can reach 0.0.0.0 can see these runs\n'
    finally: running.process.kill()


# In a browser

@pytest.fixture
def opened(chromium, server):
    "Return a function that opens a page; at the end, nobody has complained and nothing was asked of another address."
    complaints, contexts, address = [], [], f'http://127.0.0.1:{server.server_port}'
    def open_page(target='/', width=1400, scheme='light'):
        contexts.append(context := chromium.new_context(viewport=dict(width=width, height=900), color_scheme=scheme))
        page = context.new_page()
        page.on('console', lambda m: complaints.append(m.text) if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: complaints.append(str(e)))
        page.on('request', lambda r: None if r.url.startswith((address, 'data:')) else complaints.append(r.url))
        page.on('dialog', lambda d: complaints.append('a dialog'))
        page.goto(address + target)
        return page
    yield open_page
    for context in contexts: context.close()
    assert complaints == []


def names(page): return page.locator('#rows tr:visible .run a').all_inner_texts()


def test_the_table_filters_and_sorts(opened):
    page = opened()
    assert len(names(page)) == 7 and SCRIPT in names(page)
    page.fill('#filter', 'stopped DEEP')
    assert names(page) == ['deep/two']
    page.fill('#filter', '')
    page.click('th:has-text("best so far")')
    best = page.locator('#rows .best b').all_inner_texts()
    values = [float(text.split()[-1]) for text in best]
    assert values == sorted(values) and page.get_attribute('th:has-text("best so far")', 'aria-sort') == 'ascending'
    page.click('th:has-text("run")')
    first = names(page)
    page.click('th:has-text("run")')
    assert names(page) == first[::-1] and set(first) == {SCRIPT, QUOTES, 'one', 'deep/two', 'leaky', 'pictures', 'page'}


def test_two_ticked_runs_are_compared(opened):
    page = opened()
    assert page.is_disabled('#compare')
    for name in ('one', QUOTES): page.locator('tr', has=page.get_by_text(name, exact=True)).locator('input').check()
    assert page.inner_text('#compare') == 'Compare 2 runs'
    page.click('#compare')
    page.wait_for_url('**/compare?*')
    assert {text.strip() for text in page.locator('.legend li').all_inner_texts()} == {'one', QUOTES}
    assert page.locator('figure').count() == 4 and page.locator('figure').first.inner_text().count('generator steps') == 1
    assert page.locator('figure').nth(0).locator('path[style*="#3b82f6"]').count()
    assert page.locator('figure').nth(0).locator('path[style*="#e0702a"]').count()
    assert [row.split('\t')[0] for row in page.locator('#settings tr').all_inner_texts()] == ['setting', 'seed']
    assert page.locator('#architectures svg').count() == 2


def test_pages_renew_themselves(opened, root, server):
    table, page = opened(), opened('/run/one')
    row = table.locator('tr', has=table.get_by_text('one', exact=True))
    row.locator('input').check()
    for each in (table, page): each.evaluate('window.mine = 1')
    page.locator('summary').click()
    with RunFolder.open(root/'one').claim() as going:
        train(going, 220, 300)
        for each in (table, page): each.wait_for_selector('text=step 300 of 400')
        assert row.locator('input').is_checked() and 'running' in row.inner_text() and table.title().startswith('(1) ')
        train(going, 320, 340)
        going._curves.sync()
        page.wait_for_selector('text=step 340 of 400')
        page.wait_for_selector('dd:has-text("about")')
    page.wait_for_selector('.badge.stopped')
    assert page.evaluate('mine') == table.evaluate('mine') == 1 and page.locator('details').first.evaluate('d => d.open')
    shutil.copytree(root/'one', root/'new')
    table.wait_for_selector('text=8 runs')
    shutil.rmtree(root/'new')
    table.wait_for_selector('text=7 runs')


def test_it_says_that_the_server_has_ended(opened, server):
    page = opened()
    page.route('**/*', lambda route: route.fulfill(status=200, body='<p data-live id="nothing">'))       # anything that isn't this page
    page.wait_for_selector('#lost', state='visible')
    page.unroute('**/*')
    page.wait_for_selector('#lost', state='hidden')


def test_a_report_appears_by_itself(opened, monkeypatch):
    def write_report(path, out):
        time.sleep(2)
        out.write_text('<!doctype html><title>r</title><link rel="icon" href="data:,"><p>the report</p><script>alert(1)</script>')
        return out
    monkeypatch.setattr(report, 'write_report', write_report)
    page = opened('/run/one')
    page.click('text=The report of this run')
    page.wait_for_selector('text=being drawn')
    page.wait_for_selector('text=the report')


# Opens what is folded, then looks for what sticks out of the page or of nothing that scrolls
TOO_WIDE = r'''() => {
  document.querySelectorAll('details').forEach(d => d.open = true)
  const boxed = e => { for (; e; e = e.parentElement) if (getComputedStyle(e).overflowX !== 'visible') return true }
  const out = [...document.querySelectorAll('main *')]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !boxed(e.parentElement.closest('main *')))
  return [...(document.documentElement.scrollWidth > innerWidth ? ['the page scrolls sideways'] : []),
    ...out.slice(0, 3).map(e => e.outerHTML.slice(0, 90))] }'''


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [400, 1400])
def test_pages_fit_and_are_legible(opened, scheme, width):
    for target in ('/', '/run/one', '/run/leaky', '/compare?run=one&run=deep/two&run=pictures'):
        page = opened(target, width, scheme)
        page.wait_for_load_state('networkidle')
        assert page.evaluate(TOO_WIDE) == [], target
        # has tints, which the next test cannot add
        page.evaluate('document.querySelectorAll("#architectures").forEach(e => e.remove())')
        assert page.evaluate(CONTRAST) == [], target
        dark = sum(map(int, page.evaluate('getComputedStyle(document.body).backgroundColor').strip('rgb()').split(','))) < 150
        assert dark == (scheme == 'dark')


def test_names_are_found_once_and_in_order(root):
    assert [*find_runs(root)] == sorted([SCRIPT, QUOTES, 'deep/two', 'leaky', 'one', 'page', 'pictures'])

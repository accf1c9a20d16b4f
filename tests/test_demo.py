"The page of autogan_demo in a real browser, on loopback; needs the extra `demo`."
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('gradio', reason="Gradio is missing: pip install 'autogan-nb[demo]'")
ROOT = Path(__file__).resolve().parent.parent
START = 'import sys; sys.argv[0] = "autogan_demo"; from autogan_nb.many.demo import autogan_demo; autogan_demo.shell()'


@pytest.fixture(scope='module')
def address():
    "Serve a generator that reads text, and return the page's address; the command ends without a traceback."
    words = [sys.executable, '-c', START, 'nbs/results/words.safetensors', '--port', '0', '--title', 'Words']
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline()
        found = re.search(r'http\S+', line)
        assert found, line + server.stderr.read()
        yield found[0]
        server.send_signal(2)
        assert 'Traceback' not in server.communicate(timeout=30)[1]


@pytest.fixture(scope='module')
def page(address, chromium):
    "Return the page in a browser, with what it asked for and what it complained about."
    page = chromium.new_page(viewport=dict(width=1000, height=760))
    page.asked, page.said = [], []
    page.on('request', lambda request: page.asked.append(request.url))
    page.on('console', lambda message: page.said.append(message.text) if message.type == 'error' else None)
    page.goto(address)
    return page


def shown(page): return page.locator('img[alt="drawn images"]').get_attribute('src')


def drawn_after(page, button):
    "Press a button and return the address of the next picture."
    before = shown(page)
    page.get_by_role('button', name=button, exact=True).click()
    page.wait_for_function('before => document.querySelector(\'img[alt="drawn images"]\').src !== before', arg=before, timeout=30_000)
    return shown(page)


def test_a_sentence_is_drawn(page):
    page.get_by_label('what to draw').fill('a thick seven leaning left')
    assert drawn_after(page, 'Draw').endswith('.png')


def test_a_walk_moves(page): assert drawn_after(page, 'Walk').endswith('.gif')


def test_the_page_fits_a_phone(page):
    page.set_viewport_size(dict(width=390, height=760))
    assert page.evaluate('document.documentElement.scrollWidth') <= 390


def test_nothing_comes_from_elsewhere(page, address):
    assert all(url.startswith(('data:', 'blob:', address.rstrip('/'))) for url in page.asked) and not page.said

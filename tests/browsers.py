"A real browser for tests: one that is installed, else Playwright's own."
import os
import shutil
from contextlib import contextmanager

import pytest

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')


def cannot(reason):
    "Fail on GitHub, where nothing may be missing; elsewhere skip the test and say why."
    (pytest.fail if os.environ.get('CI') else pytest.skip)(reason)


@contextmanager
def browser_started():
    "Yield a browser; skip the test without one."
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with api.sync_playwright() as playwright:
        args = ['--no-sandbox'] if os.name == 'posix' and os.geteuid() == 0 else []
        try: browser = playwright.chromium.launch(executable_path=path, args=args)
        except api.Error as e:
            cannot(f'no browser: neither one of {", ".join(BROWSERS)} nor `playwright install chromium`: {str(e).splitlines()[0]}')
        yield browser
        browser.close()

"""By default the suite runs short versions of the recovery tests.

`pytest tests/test_kill.py tests/test_faults.py --long -n 0` runs the long ones too (about twenty minutes)
and writes nbs/results/survival.json."""
import os
import time
from types import SimpleNamespace

import pytest


# On two cores, two workers with two threads each would wait for each other.
# The notebooks and commands that a worker starts inherit this setting.
if 'PYTEST_XDIST_WORKER' in os.environ: os.environ['OMP_NUM_THREADS'] = '1'


# A worker that begins a long notebook last leaves the other one idle.
LONG = ['48_search', '104_trainings', '49_derive', '06_cli', '107_sharing', '42_shared_gan', '39_extractors', '66_watching', '106_report',
        '50_ablation', 'index', '65_attention', '67_growing', '63_augmentation',
        '38_own_features', '105_figures', '47_mlas', '43_derived_gan']


def pytest_collection_modifyitems(items):
    place = lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)
    items.sort(key=place)


def pytest_addoption(parser):
    parser.addoption('--long', action='store_true', help='run the long versions of the recovery tests, too')


@pytest.fixture(scope='session')
def long(request):
    "Return whether to run the long versions."
    return request.config.getoption('--long')


@pytest.fixture(scope='session')
def whole(tmp_path_factory):
    "Run the tiny job of `survival` without interruption; return its data, folder, checkpoints, seconds and output."
    from survival import make_run, run, snapshots, tiny, write_data
    folder = tmp_path_factory.mktemp('whole')
    data = write_data(folder)
    path, start = make_run(folder/'run', tiny(data)), time.monotonic()
    words = ['autogan_search', '--resume', path, '-q', '--no-report', '--device', 'cpu']
    code, out, err = run(words, folder/'process', snapshots=folder/'snapshots')
    assert (code, err) == (0, ''), err
    return SimpleNamespace(data=data, path=path, snapshots=snapshots(folder/'snapshots'), seconds=time.monotonic() - start, out=out)


@pytest.fixture(scope='module')
def chromium():
    "Start a browser."
    from browsers import browser_started
    with browser_started() as browser: yield browser


def pytest_configure():
    import kernels
    kernels.use()

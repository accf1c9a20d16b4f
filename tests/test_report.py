"Test the page of a run that is finished, killed, still going or from an earlier version; what it must not touch; error messages."
import io
import json
import re
import shutil
import signal
import sys

import nbformat
import numpy as np
import pytest
import torch
from survival import Running, checkpoint, make_run, run, tiny

from autogan_nb.practice.figures import save_animation
from autogan_nb.practice.report import Report, write_report

HEADINGS = ['Images, from the first to the last', 'Architectures', 'Candidates by rung', 'Scores', 'Quality and cost', 'The search',
            'What the controller came to prefer', 'The training from scratch', 'A walk through the latent space', 'Are they copies?',
            'Repeat this run']


def read(page):
    "Check what must be true of every page; return its text."
    text = page.read_text()
    assert re.findall(r'<h2[^>]*>([^<]*)', text) == HEADINGS
    assert not re.search(r'(src|href)="(?!data:|#)|<script|@import|url\((?!data:)', text), 'the page loads something from the network'
    assert len(text) < 1_500_000
    notebook = nbformat.read(page.with_suffix('.ipynb'), 4)
    assert not [out for cell in notebook.cells for out in cell.get('outputs', []) if out.output_type == 'error']
    return text


def state_of(path): return {f: f.read_bytes() for f in path.rglob('*') if f.is_file() and f.suffix not in ('.html', '.ipynb')}


def killed(whole, tmp_path, *kill):
    "Start a run and kill it at a moment; return its path."
    path = make_run(tmp_path/'run', tiny(whole.data))
    words = f'autogan_search --resume {path} -q --no-report --device cpu'.split()
    assert Running(words, tmp_path/'process', kill=kill).wait() == -signal.SIGKILL
    return path


def test_a_finished_run(whole, tmp_path):
    path = shutil.copytree(whole.path, tmp_path/'a run')
    before = state_of(path)
    code, out, err = run(['autogan_report', path, '-q'], tmp_path/'process')
    assert (code, out, err) == (0, f'{path}/report.html\n', '')
    text = read(path/'report.html')
    assert state_of(path) == before, 'a report must only read'
    assert '>finished<' in text and 'a run: a search on' in text
    assert text.count('<img') >= 8 and text.count('<svg') >= 1 and '--eval-every' not in text
    for row in json.loads((path/'architectures.json').read_text()): assert f'>{row["arch"]}<' in text


def test_the_search_ends_with_it_and_says_how_to_do_it_again(whole, tmp_path):
    words = (f'autogan_search --preset paper-digits --data {whole.data} --size 8 --channels 1 --iterations 1 --epochs .1 '
             '--controller-steps 1 --candidates 2 --top-k 1 --finalists 1 --reward-images 20 --steps 2 --eval-images 100 '
             '--extractor digits --device cpu')
    code, out, err = run([*words.split(), '--out', tmp_path/'run', '-q'], tmp_path/'process')
    assert (code, err) == (0, '') and out.splitlines()[-1].startswith(f'{tmp_path}/run/report.html')
    said = re.search('<pre>(autogan_search.*?)</pre>', read(tmp_path/'run/report.html'))[1]
    again = [*said.split(), '--out', tmp_path/'again', '-q', '--no-report']
    assert run(again, tmp_path/'process')[0] == 0
    for name in ('log.jsonl', 'generator.safetensors'): assert (tmp_path/'again'/name).read_bytes() == (tmp_path/'run'/name).read_bytes()


@pytest.mark.parametrize('kill, said', [
    (('preparation', 1, 0), 'no iteration has ended yet'), (('cycle', 20, 0), 'with the shared weights of the search'),
    (('growth', 1, 0), 'iteration 2 of 6'), (('steps', 9, 0), 'in training, after step'),
    (('end', 1, 0), 'at step 20 of 20, 2 of 2 measured')])
def test_killed_runs(whole, tmp_path, kill, said):
    path = killed(whole, tmp_path, *kill)
    before = state_of(path)
    text = read(write_report(path))
    assert state_of(path) == before
    assert f'stopped: continue with autogan_search --resume {path.name}' in text and said in text


def test_a_run_that_is_going(whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data))
    running = Running(f'autogan_search --resume {path} -q --no-report --device cpu'.split(), tmp_path/'process', slow='controller')
    try:
        assert running.wait_for('size 16')
        assert '>running<' in read(write_report(path))
        assert running.wait() == 0, running.err
    finally: running.process.kill()
    assert (path/'log.jsonl').read_bytes() == (whole.path/'log.jsonl').read_bytes()
    assert Report(path).status == 'finished'


def test_a_run_that_has_lost_something(whole, tmp_path):
    path = shutil.copytree(whole.path, tmp_path/'run')
    for name in ('checkpoint.pt', 'checkpoint.prev.pt'): (path/name).write_bytes(b'broken')
    for name in ('generator.safetensors', 'scores.json', 'architectures.json'): (path/name).unlink()
    shutil.rmtree(path/'samples'); shutil.rmtree(path/'generators')
    config = json.loads((path/'config.json').read_text())
    config['config']['preset']['data'] = str(tmp_path/'gone.npz')
    (path/'config.json').write_text(json.dumps(config))
    text = read(write_report(path))
    assert 'best of iteration 6' in text and 'There is no generator in the run yet' in text and 'No pictures have been drawn yet.' in text


def test_broken_files_cost_their_place_and_no_more(whole, tmp_path):
    path = shutil.copytree(whole.path, tmp_path/'run')
    (path/'samples/growth/0003-8x8.png').write_bytes(b'')
    (path/'samples/growth/stranger.png').write_bytes((path/'samples/growth/0002-8x8.png').read_bytes())
    for name in ('scores.json', 'architectures.json'): (path/name).write_text('{')
    (path/'generator.safetensors').write_bytes((path/'generator.safetensors').read_bytes()[:1000])
    text = read(write_report(path))
    assert len(Report(path).moments()) == 5 + 20
    assert 'searched 1, trained' in text


def test_a_stranger_s_folder_runs_nothing(whole, tmp_path):
    path, marker = shutil.copytree(whole.path, tmp_path/'run'), tmp_path/'it ran'
    for name in ('fastcore', 'random', 'ipykernel_launcher', 'sitecustomize', 'torch'):
        (path/f'{name}.py').write_text(f'open({str(marker)!r}, "w")')
    code, out, err = run(['autogan_report', path, '-q'], tmp_path/'process')
    assert (code, err) == (0, '')
    read(path/'report.html')
    assert not marker.exists()


def test_the_page_of_a_training(whole, tmp_path):
    path = make_run(tmp_path/'run', tiny(whole.data), arch='pre-none-nearest-sc,post-batch-deconv-s0')
    assert run(f'autogan_train --resume {path} -q --no-report --device cpu'.split(), tmp_path/'process')[0] == 0
    text = read(write_report(path))
    assert '<h1>run: a training run on' in text and 'there was no search' in text and 'There was no controller.' in text
    assert 'reward with shared weights' not in text


def test_a_long_search_in_colour_stays_within_a_page_s_budget():
    rng, moments = np.random.default_rng(0), []
    for i in range(110):                    # smooth noise: about as hard to compress as photographs
        size = 8 if i < 25 else 16 if i < 55 else 32
        spectrum = np.fft.rfft2(rng.normal(size=(32, size, size, 3)), axes=(1, 2))
        away = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing='ij')) + 1 / size
        images = np.fft.irfft2(spectrum / away[None, ..., None], s=(size, size), axes=(1, 2))
        moments.append((f'iteration {i}', np.uint8(np.clip(128 + 40 * images / images.std(), 0, 255))))
    file = io.BytesIO()
    save_animation(file, moments)
    assert 100_000 < len(file.getvalue()) < 600_000


def test_a_log_without_preferences(whole, tmp_path):
    path = shutil.copytree(whole.path, tmp_path/'run')
    records = [json.loads(line) for line in (path/'log.jsonl').read_text().splitlines()]
    for record in records: record.pop('choices', None)
    (path/'log.jsonl').write_text(''.join(json.dumps(record) + '\n' for record in records))
    assert 'The log does not record what the controller sampled.' in read(write_report(path))


def test_a_run_of_an_earlier_version(whole, tmp_path):
    "Earlier versions called the selected architecture, the best evaluations and the beams `kept`."
    path = shutil.copytree(whole.path, tmp_path/'run')
    rows = json.loads((path/'architectures.json').read_text())
    chosen = next(row['name'] for row in rows if row['selected'])
    for row in rows: row['kept'] = row.pop('selected')
    (path/'architectures.json').write_text(json.dumps(rows))
    records = [json.loads(line) for line in (path/'log.jsonl').read_text().splitlines()]
    for record in records:
        if record['kind'] == 'eval': record['kept'] = record.pop('best')
    (path/'log.jsonl').write_text(''.join(json.dumps(record) + '\n' for record in records))
    box = checkpoint(path/'checkpoint.pt')
    box['state']['kept'] = box['state'].pop('beams_by_size')
    torch.save(box, path/'checkpoint.pt')
    text = read(write_report(path))
    assert f'{chosen}: ' in text and re.search(rf'>{chosen}\W+(kept|selected)', text) and Report(path).ranked()[0][0] == chosen


@pytest.mark.parametrize('missing', [['papermill'], ['nbconvert', 'ipykernel']])
def test_packages_that_make_the_page_may_be_missing(whole, tmp_path, monkeypatch, missing):
    path = shutil.copytree(whole.path, tmp_path/'run')
    for name in missing: monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f'a report needs {" and ".join(missing)}: pip install {" ".join(missing)}$'): write_report(path)
    assert not (path/'report.html').exists() and Report(path).status == 'finished'


def test_mistakes_get_one_sentence(whole, tmp_path):
    (tmp_path/'empty').mkdir()
    make_run(tmp_path/'other', tiny(whole.data))
    config = json.loads((tmp_path/'other/config.json').read_text())
    (tmp_path/'other/config.json').write_text(json.dumps(config | dict(config={})))
    (tmp_path/'mine.ipynb').write_text('my notebook')
    for words, named in (('nowhere', 'nowhere'), (tmp_path/'empty', 'empty'), (tmp_path/'other', 'has no preset'),
                         (f'{whole.path} --out {tmp_path}/page.pdf', 'page.pdf'),
                         (f'{whole.path} --out {tmp_path}/mine.html', 'mine.ipynb')):
        code, out, err = run(['autogan_report', *str(words).split()], tmp_path/'process')
        assert code == 2 and not out and len(err.splitlines()) == 1 and named in err and err.startswith('autogan_report: '), err
    assert (tmp_path/'mine.ipynb').read_text() == 'my notebook'


def test_a_page_elsewhere_has_a_notebook_that_runs_there(whole, tmp_path):
    page = write_report(whole.path, tmp_path/'pages/one.html')
    assert '>finished<' in read(page)
    made = nbformat.read(page.with_suffix('.ipynb'), 4).cells
    source = next(cell.source for cell in made if 'injected-parameters' in cell.metadata.get('tags', []))
    assert (page.parent/re.search('run = "(.*)"', source)[1]).resolve() == whole.path.resolve()


def test_pictures_of_a_run_come_from_the_same_latents(whole):
    assert {'real', 'contenders'} <= checkpoint(whole.path/'checkpoint.pt')['state'].keys()
    assert len(Report(whole.path).moments()) == 6 + 20

"Test what is read from disk as users have it: untidy folders, odd files, archives, names, and the commands on them."
import gzip
import io
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from autogan_nb.cli import autogan_eval
from autogan_nb.data.datasets import DATASETS, load_data
from autogan_nb.data.decoding import FITS, FORMATS, formats, read_image, suffixes
from autogan_nb.data.folders import image_folder, own_size, survey_folder
from autogan_nb.data.named import IDX_SETS
from autogan_nb.data.places import find_images
from autogan_nb.data.streaming import open_data
from autogan_nb.practice.presets import configure
from commands import run


def picture(seed=0, size=(80, 60)):
    "Draw a smooth coloured picture."
    rng = np.random.default_rng(seed)
    image = Image.new('RGB', size, tuple(rng.integers(60, 200, 3).tolist()))
    for _ in range(4):
        x, y, r = rng.integers(0, size[0]), rng.integers(0, size[1]), rng.integers(8, 20)
        ImageDraw.Draw(image).ellipse([x - r, y - r, x + r, y + r], fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def tensor(image): return torch.from_numpy(np.asarray(image.convert('RGB')).copy()).permute(2, 0, 1).float()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path/'photos'
    folder.mkdir()
    for k in range(12): picture(k).save(folder/f'IMG_{k}.png')
    return folder


def measured(capsys, *words):
    "Call autogan_eval; return its exit code, its output and its messages."
    try: code = autogan_eval.shell([*map(str, words), '--extractor', 'digits', '--device', 'cpu']) or 0
    except SystemExit as end: code = end.code
    return code, *capsys.readouterr()


# One listing

def hide_a_thumbnail(folder):
    (folder/'.thumbnails').mkdir()
    picture(0, (20, 15)).save(folder/'.thumbnails/t.png')


def add_a_mac_file(folder): (folder/'._IMG_0.png').write_bytes(b'Mac OS X')
def add_a_document(folder): (folder/'A.pdf').write_bytes(b'%PDF-1.4')
def break_the_first(folder): (folder/'A.png').write_bytes(b'')


@pytest.mark.parametrize('mess', [hide_a_thumbnail, add_a_mac_file, add_a_document, break_the_first])
def test_eval_and_load_read_the_same_images_of_an_untidy_folder(photos, mess, capsys):
    mess(photos)
    code, out, err = measured(capsys, photos, '--data', photos, '-q')
    assert code == 0 and '(12 images (crops 80x60 to 60x60' in out and 'against 12 photos at 60x60' in out, (out, err)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert len(load_data(photos, size=60, quiet=True)) == 12


def test_a_folder_of_links_is_measured(photos, tmp_path, capsys):
    (tmp_path/'links').mkdir()
    (tmp_path/'links/all').symlink_to(photos)
    code, out, err = measured(capsys, tmp_path/'links', '--data', photos, '-q')
    assert code == 0 and 'against 12 photos at 60x60' in out, err


def test_one_icon_does_not_set_the_size_for_all(photos, capsys):
    picture(99, (24, 18)).save(photos/'A.png')
    code, out, err = measured(capsys, photos, '--data', photos, '-q')
    assert code == 0 and '13 photos at 60x60' in out
    assert 'the images differ in size (photos: 13 images, 24 to 80 pixels wide and 18 to 60 high' in err
    _, out, err = measured(capsys, photos, '--data', photos, '--size', 32, '-q')
    assert '13 photos at 32x32' in out and 'differ in size' not in err


NOTHING = {'none': 'no run folder or generator file', 'none.zip': 'there is no file', 'empty': 'no images in',
           'broken': 'none of 1 images in', 'cut.zip': 'cannot be read as an archive'}


@pytest.mark.parametrize('name, words', NOTHING.items())
def test_eval_says_in_one_sentence_why_there_is_nothing_to_measure(name, words, tmp_path, photos, capsys):
    for folder in ('empty', 'broken'): (tmp_path/folder).mkdir()
    (tmp_path/'broken/a.jpg').write_bytes(b'x')
    (tmp_path/'cut.zip').write_bytes(b'PK\3\4')
    code, _, err = measured(capsys, tmp_path/name, '--data', photos)
    assert code == 2 and words in err and err.count('\n') == 1


def test_a_survey_looks_at_content_and_at_a_sample(photos):
    for k in range(12): picture(k).convert('L').convert('RGB').save(photos/f'grey{k}.png')
    (photos/'a.nef').write_bytes(b'x')
    survey = survey_folder(photos)
    assert (survey.files, survey.readable, survey.colour, survey.side, survey.differ) == (24, 24, .5, 60, False)
    assert survey.unread == ('a.nef',) and survey.classes == 0
    many = photos/'many'
    many.mkdir()
    for k in range(300): Image.new('L', (4, 4)).save(many/f'{k:03}.bmp')
    assert (survey_folder(many).files, survey_folder(many).looked_at) == (300, 200)
    assert own_size(many) == 4


# Formats

HEIF = pytest.mark.skipif('HEIF' not in formats(), reason='needs pillow-heif')


SUFFIXES = [pytest.param(suffix, marks=HEIF if name == 'HEIF' else ()) for name, kind in FORMATS.items() for suffix in kind.suffixes]


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_every_suffix_is_listed_and_read(suffix, tmp_path):
    image = picture(size=(64, 64))
    if suffix == '.pbm': image = image.convert('1')
    if suffix == '.pgm': image = image.convert('L')
    kind = next(name for name, f in FORMATS.items() if suffix in f.suffixes)
    file = tmp_path/f'x{suffix.upper()}'
    image.save(file, kind, **{} if kind in ('PPM', 'GIF', 'BMP') else dict(quality=95))
    assert find_images(tmp_path).names == [file.name]
    assert (read_image(file, 64, 3).float() - tensor(image)).abs().mean() < 4


def test_files_that_only_look_like_images_are_counted_and_named_once(photos):
    for name in ('a.CR2', 'b.svg', 'c.psd'): (photos/name).write_bytes(b'x')
    with pytest.warns(UserWarning) as told: image_folder(photos, 8, quiet=True)
    assert [str(w.message) for w in told] == ['photos: 3 files that look like images are of a kind that is not read: a.CR2, b.svg, c.psd']


def test_without_its_package_heic_is_counted_and_the_cure_named(photos, monkeypatch):
    import autogan_nb.data.decoding as decoding
    import autogan_nb.data.places as places
    monkeypatch.setattr(decoding, 'formats', lambda: tuple(name for name in FORMATS if name != 'HEIF'))
    monkeypatch.setattr(places, 'suffixes', decoding.suffixes)
    (photos/'a.heic').write_bytes(b'x')
    with pytest.warns(UserWarning, match=r'a.heic; HEIC needs pip install "autogan-nb\[heic\]"'): image_folder(photos, 8, quiet=True)


# 16 bits

def deep(folder, name, levels): Image.fromarray(np.tile(np.linspace(0, levels, 64), (64, 1)).round().astype(np.uint16)).save(folder/name)


@pytest.mark.parametrize('highest, white', [(1000, 1023), (4095, 4095), (16000, 16383)])
def test_a_camera_of_fewer_bits_is_scaled_by_its_range(highest, white, tmp_path):
    for k in range(3): deep(tmp_path, f'{k}.png', highest * (k + 1) / 3)
    with pytest.warns(UserWarning, match=f'3 16-bit images use levels up to {white:,} only') as told: data = image_folder(tmp_path, 64, 1)
    assert len(told) == 1
    ramp = torch.linspace(0, highest, 64).round() / white * 255
    assert (data.images[2, 0, 0].float() - ramp).abs().max() <= .51
    brightness = data.images.float().mean((1, 2, 3))
    assert torch.allclose(brightness / brightness[2], torch.tensor([1/3, 2/3, 1]), atol=.02)       # one scale for all files
    with pytest.warns(UserWarning): stream = open_data(tmp_path, size=64, channels=1, stream=True, workers=0)
    assert stream.fingerprint == data.fingerprint


def test_a_full_range_is_read_as_ever_and_a_dark_file_among_bright_ones_is_named(tmp_path):
    deep(tmp_path, 'full.png', 65535)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        full = image_folder(tmp_path, 64, 1)
    assert (full.images[0, 0, 0].float() - torch.linspace(0, 255, 64)).abs().max() <= .51
    deep(tmp_path, 'x-ray.png', 4095)
    with pytest.warns(UserWarning, match='use levels up to 4,095 only will be dark, as others use 65,535: x-ray.png'):
        image_folder(tmp_path, 64, 1)


# Archives

def packed(folder, path):
    "Pack a folder; its name decides how."
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for f in sorted(folder.rglob('*.png')): archive.write(f, f.relative_to(folder.parent))
    else:
        with tarfile.open(path, 'w:' + path.suffix[1:].replace('tar', '')) as archive: archive.add(folder, folder.name)
    return path


@pytest.mark.parametrize('suffix', ['.zip', '.tar', '.tar.gz', '.tar.bz2', '.tar.xz'])
def test_an_archive_is_data_as_its_folder_is(suffix, photos, tmp_path, capsys):
    classes = tmp_path/'classes'
    for k in range(12):
        (classes/'ab'[k % 2]).mkdir(parents=True, exist_ok=True)
        (photos/f'IMG_{k}.png').rename(classes/'ab'[k % 2]/f'{k:02}.png')
    archive = packed(classes, tmp_path/f'packed{suffix}')
    ours, before = load_data(classes, size=16, quiet=True), sorted(tmp_path.rglob('*'))
    for stream in (False, True):
        theirs = open_data(archive, size=16, stream=stream, quiet=True, workers=1)
        assert (theirs.fingerprint, theirs.labels.tolist(), theirs.fit) == (ours.fingerprint, ours.labels.tolist(), ours.fit)
        images, labels = next(theirs.batches(8))
        assert (images == next(ours.batches(8)).images).all() and labels is not None
    code, out, _ = measured(capsys, archive, '--data', classes, '-q')
    assert code == 0 and '12 images' in out and '60x60' in out
    assert sorted(tmp_path.rglob('*')) == before                                     # nothing was unpacked to disk


def test_names_that_lead_out_of_an_archive_are_left_out(tmp_path):
    content = io.BytesIO()
    picture().save(content, 'PNG')
    with zipfile.ZipFile(tmp_path/'x.zip', 'w') as archive:
        for name in ('../a.png', '/a.png', 'b/../../a.png', 'c/.a.png', 'fine.png'): archive.writestr(name, content.getvalue())
    assert find_images(tmp_path/'x.zip').names == ['fine.png']
    assert len(image_folder(tmp_path/'x.zip', 8, quiet=True)) == 1


def test_a_broken_file_in_an_archive_is_skipped_and_named(photos, tmp_path):
    (photos/'IMG_3.png').write_bytes(b'x')
    for suffix in ('.zip', '.tar', '.tar.gz'):
        with pytest.warns(UserWarning, match='skipped 1 of 12 images that cannot be read: IMG_3.png'):
            assert len(image_folder(packed(photos, tmp_path/f'p{suffix}'), 8, quiet=True)) == 11


# Fit

@pytest.mark.parametrize('fit', FITS)
def test_a_fit_is_an_option_of_the_commands_and_is_in_the_protocol(fit, photos, capsys):
    assert configure('digits', data=str(photos), fit=fit).fit == fit
    code, out, err = measured(capsys, photos, '--data', photos, '--size', 16, '--fit', fit)
    said = {'crop': 'crops 80x60 to 60x60: 25 % of each image is left out', 'pad': 'pads 80x60 to 80x80: 25 % of each square is black',
            'stretch': 'stretches 80x60 to 60x60: 25 % squeeze along the longer side'}[fit]
    assert code == 0 and f'photos: {said}\n' in err
    assert f'(12 images ({said}), ' in out and f'against 12 photos at 16x16 ({said}))' in out


def test_a_generator_is_measured_with_the_fit_it_was_trained_with(photos, tmp_path):
    tiny = ('--channels 3 --extractor digits --steps 2 --eval-images 60 --g-width 8 --d-width 8 '
            '--device cpu --no-report -q --fit pad').split()
    for command, *words in (['autogan_train', '--data', photos, '--out', tmp_path/'run', *tiny],
                            ['autogan_eval', tmp_path/'run', '--images', 60, '--device', 'cpu', '-q']):
        code, out, err = run(tmp_path, command, *words)
        assert code == 0, err
        assert 'against 12 photos at 32x32 (pads 80x60 to 80x80: 25 % of each square is black)' in out


def test_square_images_have_nothing_to_say(tmp_path, capsys):
    for k in range(12): picture(k, (60, 60)).save(tmp_path/f'{k}.png')
    code, out, err = measured(capsys, tmp_path, '--data', tmp_path, '--size', 16)
    assert code == 0 and 'crops' not in out + err and '(12 images, ' in out


def test_an_unknown_fit_is_refused(photos, capsys):
    code, _, err = measured(capsys, photos, '--data', photos, '--fit', 'squash')
    assert code == 2 and err.endswith(": --fit is 'squash', expected one of crop, pad, stretch\n") and err.count('\n') == 1
    with pytest.raises(ValueError, match='expected one of crop, pad, stretch'): configure('digits', fit='squash')


# Names

def write_idx(folder, images, labels):
    folder.mkdir(parents=True)
    head = lambda *shape: bytes([0, 0, 8, len(shape)]) + np.array(shape, '>u4').tobytes()
    for part in ('train', 't10k'):
        (folder/f'{part}-images-idx3-ubyte.gz').write_bytes(gzip.compress(head(*images.shape) + images.tobytes()))
        (folder/f'{part}-labels-idx1-ubyte.gz').write_bytes(gzip.compress(head(len(labels)) + labels.tobytes()))


def test_every_name_has_its_test_images():
    assert {name for name in DATASETS if f'{name}-test' in DATASETS} == {name for name in DATASETS if '-test' not in name} - {'digits'}
    assert {'mnist', 'fashion-mnist', 'kmnist', 'cifar10', 'cifar100', 'svhn', 'stl10', 'celeba'} <= set(DATASETS)


@pytest.mark.parametrize('name', [*IDX_SETS, *(f'{name}-test' for name in IDX_SETS)])
def test_a_name_works_wherever_data_is_named(name, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28), np.uint8)
    write_idx(tmp_path/IDX_SETS[name.removesuffix('-test')][0]/'raw', images, np.arange(300, dtype=np.uint8) % 10)
    data = load_data(name, root=tmp_path)
    assert (data.images[:, 0, 2:30, 2:30].numpy() == images).all() and data.name == name and data.labels[:3].tolist() == [0, 1, 2]
    assert open_data(name, root=tmp_path, size=16, channels=3, stream=True).size == 16
    code, out, err = measured(capsys, 'digits', '--data', name, '--root', tmp_path, '--images', 300, '-q')
    assert code == 0 and f'against 300 {name} at 32x32' in out, err
    assert configure('digits', data=name).data == name


# Resized once

def test_stages_of_arrays_come_from_the_originals(tmp_path):
    images = np.stack([np.asarray(picture(k, (96, 96))) for k in range(8)])
    np.save(tmp_path/'large.npy', images)
    direct = {size: load_data(images, size=size).images for size in (48, 24, 12)}
    for data in (load_data(images, size=48), load_data(tmp_path/'large.npy', size=48),
                 open_data(tmp_path/'large.npy', size=48, stream=True, workers=0), open_data(images, size=48, stream=True)):
        for part in (data, data.split(.5)[0]): assert part.direct == (24, 12)
        for size, expected in direct.items(): assert (torch.cat(list(data.chunks(size))) == expected).all()
    twice = load_data(direct[48]).resized(24)
    assert not torch.equal(twice, direct[24]) and load_data(direct[48]).fingerprint != load_data(images, size=48).fingerprint


def test_suffixes_are_lower_case(): assert suffixes() == {s.lower() for s in suffixes()}

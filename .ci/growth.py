#!/usr/bin/env python3
"Make the pictures of a search for the first page and notebook 06 from a run folder of autogan_search: python .ci/growth.py RUN"
import shutil
import sys
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from autogan_nb.practice.figures import resize_nearest
from autogan_nb.practice.report import Report

TILE, GAP, HEAD, COLS, ROWS = 96, 4, 46, 8, 3
BACK, BRIGHT, DIM, BRAND = '#0c1117', '#ffffff', '#5b6676', '#5ba8f7'
WIDTH, HEIGHT = COLS * (TILE + GAP) + GAP, HEAD + ROWS * (TILE + GAP) + GAP
STAGES = {8: '8 × 8', 16: '16 × 16', 32: '32 × 32', 'trained': 'trained from scratch'}
SECONDS = {8: .35, 16: .45, 32: .55, 'trained': .7}
LAST, LOOPS = 3.5, 2                                           # the last picture stays; the film runs three times, then rests on it
FONT = ImageFont.truetype(str(Path(matplotlib.get_data_path())/'fonts/ttf/DejaVuSans-Bold.ttf'), 19)
IMAGES = Path(__file__).resolve().parent.parent/'nbs/images'


def scenes(run):
    "Return `(pictures, stage)` pairs: the same latents after each iteration of the search, then at a few moments of the final training."
    moments = Report(run).moments()
    trained = [(pictures, 'trained') for caption, pictures in moments if caption.startswith('training')]
    searched = [(pictures, pictures.shape[1]) for caption, pictures in moments if not caption.startswith('training')]
    return searched + [trained[i] for i in (0, 2, len(trained) // 2, -1)]


def frame(pictures, stage):
    "Draw one picture of the film: the stages at the top, the current one bright, and the grid."
    film = Image.new('RGB', (WIDTH, HEIGHT), BACK)
    draw, x = ImageDraw.Draw(film), GAP + 8
    for name, text in STAGES.items():
        draw.text((x, 11), text, BRIGHT if name == stage else DIM, FONT)
        end = x + draw.textlength(text, FONT)
        if name == stage: draw.rectangle((x, HEAD - 8, end, HEAD - 5), BRAND)
        x = end + 44
    for i, p in enumerate(resize_nearest(pictures[:COLS * ROWS], TILE)):
        film.paste(Image.fromarray(p), (GAP + i % COLS * (TILE + GAP), HEAD + i // COLS * (TILE + GAP)))
    return film


def palette():
    "Return a palette of twelve greys and the colours of the heading."
    image, greys = Image.new('P', (1, 1)), [v for i in range(12) for v in [round(i * 255 / 11)] * 3]
    image.putpalette(greys + [int(c[i:i + 2], 16) for c in (BACK, DIM, BRAND) for i in (1, 3, 5)])
    return image


def film(shown, path):
    "Write a film of all scenes, one after the other."
    first, *more = (frame(*s).quantize(palette=palette(), dither=Image.Dither.NONE) for s in shown)
    times = [round(1000 * SECONDS[stage]) for _, stage in shown[:-1]] + [round(1000 * LAST)]
    first.save(path, save_all=True, append_images=more, duration=times, loop=LOOPS, optimize=True)


def poster(shown, path):
    "Write a picture of the last scene of each stage, side by side."
    width, head = 5 * 48 + 10, 26
    sheet = Image.new('L', (4 * width - 10, head + 5 * 48 - 2), 255)
    draw = ImageDraw.Draw(sheet)
    for k, (pictures, stage) in enumerate({stage: (pictures, stage) for pictures, stage in shown}.values()):
        draw.text((k * width + 119, head // 2), STAGES[stage], 0, FONT.font_variant(size=14), anchor='mm')
        for i, p in enumerate(resize_nearest(pictures[:25], 46)):
            sheet.paste(Image.fromarray(p).convert('L'), (k * width + i % 5 * 48, head + i // 5 * 48))
    sheet.save(path, optimize=True)


def main(run):
    "Write all pictures."
    shown = scenes(run)
    film(shown, IMAGES/'growth.gif')
    poster(shown, IMAGES/'growth.png')
    shutil.copy(Path(run)/'search.png', IMAGES)
    for name in ('growth.gif', 'growth.png', 'search.png'): print(f'nbs/images/{name}: {(IMAGES/name).stat().st_size:,} bytes')


if __name__ == '__main__': main(*sys.argv[1:])

#!/usr/bin/env python3
"nbs/images/growth.gif, the moving picture of the first page, from a run folder of autogan_search: python .ci/growth.py RUN [CONTENDER]"
import sys
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

TILE, GAP, HEAD, COLS, ROWS = 96, 4, 46, 8, 3
BACK, BRIGHT, DIM, BRAND = '#0c1117', '#ffffff', '#5b6676', '#5ba8f7'
WIDTH, HEIGHT = COLS * (TILE + GAP) + GAP, HEAD + ROWS * (TILE + GAP) + GAP
STAGES = {8: '8 × 8', 16: '16 × 16', 32: '32 × 32', 'trained': 'trained from scratch'}
SECONDS = {8: .35, 16: .45, 32: .55, 'trained': .7}
LAST, LOOPS = 3.5, 2                                           # the last picture stays; the film runs three times, then rests on it


def tiles(path, size):
    "The pictures of a grid that `save_png` wrote, 2 pixels apart."
    grid = Image.open(path).convert('L')
    return [grid.crop((x, y, x + size, y + size)) for y in range(0, grid.height, size + 2) for x in range(0, grid.width, size + 2)]


def scenes(run, contender):
    "`(pictures, stage)`: the same latents after each iteration of the search, then a few moments of the training from scratch."
    for path in sorted(run.glob('samples/growth/*.png')):
        size = int(path.stem.split('x')[-1])
        yield tiles(path, size), size
    trained = sorted(run.glob(f'samples/training/{contender}-*.png'))
    for i in (0, 2, len(trained) // 2, -1): yield tiles(trained[i], 32), 'trained'


def frame(pictures, stage):
    "One picture of the film: the stages above, the present one bright, and the grid."
    film = Image.new('RGB', (WIDTH, HEIGHT), BACK)
    draw, x = ImageDraw.Draw(film), GAP + 8
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path())/'fonts/ttf/DejaVuSans-Bold.ttf'), 19)
    for name, text in STAGES.items():
        draw.text((x, 11), text, BRIGHT if name == stage else DIM, font)
        end = x + draw.textlength(text, font)
        if name == stage: draw.rectangle((x, HEAD - 8, end, HEAD - 5), BRAND)
        x = end + 44
    for i, p in enumerate(pictures[:COLS * ROWS]):
        film.paste(p.resize((TILE, TILE), Image.Resampling.NEAREST), (GAP + i % COLS * (TILE + GAP), HEAD + i // COLS * (TILE + GAP)))
    return film


def palette():
    "Twelve greys and the colours of the line above."
    image, greys = Image.new('P', (1, 1)), [v for i in range(12) for v in [round(i * 255 / 11)] * 3]
    image.putpalette(greys + [int(c[i:i + 2], 16) for c in (BACK, DIM, BRAND) for i in (1, 3, 5)])
    return image


def main(run, contender='searched-1'):
    "Write the film."
    shown, path = list(scenes(Path(run), contender)), Path('nbs/images/growth.gif')
    first, *more = (frame(*s).quantize(palette=palette(), dither=Image.Dither.NONE) for s in shown)
    times = [round(1000 * SECONDS[stage]) for _, stage in shown[:-1]] + [round(1000 * LAST)]
    first.save(path, save_all=True, append_images=more, duration=times, loop=LOOPS, optimize=True)
    print(f'{path}: {len(shown)} frames, {path.stat().st_size:,} bytes')


if __name__ == '__main__': main(*sys.argv[1:])

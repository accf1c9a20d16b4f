"""Train the models with an encoder on digits of which a fifth is held out, and store what they reach.

`python tests/encoder_runs.py bigan ali` appends rows that are not there yet to nbs/results/encoders.jsonl, and draws nbs/images/MODEL.png.
About a CPU minute each on one thread."""
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from autogan_nb.core import make_rng, to_float
from autogan_nb.data.images import digits
from autogan_nb.gan.configs import RECIPES, TrainConfig
from autogan_nb.metrics.classifier import digit_extractor
from autogan_nb.metrics.evaluator import Evaluator, evaluate
from autogan_nb.models.models import get_model
from autogan_nb.search.derive import FinalTraining
from autogan_nb.search.derived_gan import generate_images
from autogan_nb.search.space import A, Architecture
from autogan_nb.show import save_png

ROWS, IMAGES, STEPS, WIDTH = Path('nbs/results/encoders.jsonl'), Path('nbs/images'), 1200, 16


def settings(model):
    "Return the settings of a model: the recipe `modern` at a small width, with what the model changes."
    row, gan = get_model(model), replace(RECIPES['modern'].gan, g_width=WIDTH, d_width=WIDTH)
    return row.settings(replace(gan, **{name.removeprefix('final_gan.'): value for name, value in row.recipe.items()}))


def trained(model, data, seed=0, steps=STEPS):
    "Train a model at 16x16 pixels."
    config = TrainConfig(steps=steps, eval_every=0)
    training = FinalTraining(Architecture(A.cells[:2]), data, settings(model), config, seed, techniques=get_model(model).techniques)
    while not training.done:
        training.step()
    return training


@torch.no_grad()
def measured(generator, held, evaluator):
    "Return figures of a trained generator, and a grid: 32 drawn images, 16 held out ones, and their reconstructions."
    x, z = to_float(held.images), torch.randn(1000, generator.latent_dim, generator=make_rng(1))
    back, images = generate_images(lambda x: generator(generator.encoder(x)), x), generate_images(generator, z)
    scores = evaluate(generator, evaluator, 1000)
    facts = dict(score=scores.score, fid=scores.fid, reconstruction=(back - x).square().mean().item(),
                 latents=(generate_images(generator.encoder, images) - z).square().mean().item())
    return facts, torch.cat([images[:32], x[:16], back[:16]])


def main(models):
    done = {(row['model'], row['seed']) for row in map(json.loads, ROWS.open())} if ROWS.exists() else set()
    data, held = digits(16).split(.2)
    for model in models:
        if (model, 0) in done:
            continue
        start = time.process_time()
        training = trained(model, data)
        seconds = time.process_time() - start
        facts, grid = measured(training.generator, held, Evaluator(digit_extractor(), digits(16)))
        save_png(IMAGES/f'{model}.png', grid, 16, 2)
        row = dict(model=model, seed=0, steps=STEPS, width=WIDTH, cpu_seconds=round(seconds), **{k: round(v, 4) for k, v in facts.items()})
        with ROWS.open('a') as file:
            file.write(json.dumps(row | dict(command=f'python tests/encoder_runs.py {model}')) + '\n')
        torch.save(training.generator.state_dict(), f'/tmp/wt/i18-encoders-tmp/{model}.pt')
        print(row, flush=True)


if __name__ == '__main__':
    main(sys.argv[1:])

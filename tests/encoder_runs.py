"""Train the models with an encoder on digits of which a fifth is held out, and store what they reach.

`python tests/encoder_runs.py bigan@1200 ali vaegan vae` appends rows that are not there yet to nbs/results/encoders.jsonl, and draws
nbs/images/MODEL.png; half a CPU minute each on one thread, and 600 steps unless there is another number.
`python tests/encoder_runs.py modes 0 1 2` trains a GAN with and without
mode regularisers on stacked digits with each of these seeds, for nbs/results/modes.jsonl; half a minute each."""
import copy
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from autogan_nb.core import make_rng, seeded, to_float
from autogan_nb.data.images import digits
from autogan_nb.gan.configs import RECIPES, TrainConfig
from autogan_nb.metrics.classifier import digit_extractor
from autogan_nb.metrics.evaluator import Evaluator, evaluate
from autogan_nb.models.bigan import linear_accuracy, reparametrised
from autogan_nb.models.models import get_model
from autogan_nb.models.mrgan import coverage, kinds_of, stacked_digits
from autogan_nb.models.vaegan import kl_to_normal, unlikeness
from autogan_nb.search.derive import FinalTraining, derived_networks
from autogan_nb.search.derived_gan import generate_images
from autogan_nb.search.space import A, Architecture
from autogan_nb.show import save_png

RESULTS, IMAGES, STEPS, WIDTH, WEIGHTS = Path('nbs/results'), Path('nbs/images'), 600, 16, 'mrgan=30:0.5'


def settings(model):
    "Return the settings of a model: the recipe `modern` at a small width, with what the model changes."
    row, gan = get_model(model), replace(RECIPES['modern'].gan, g_width=WIDTH, d_width=WIDTH)
    return row.settings(replace(gan, **{name.removeprefix('final_gan.'): value for name, value in row.recipe.items()}))


def trained(model, data, steps, seed=0):
    "Train a model at 16x16 pixels."
    config = TrainConfig(steps=steps, eval_every=0)
    training = FinalTraining(Architecture(A.cells[:2]), data, settings(model), config, seed, techniques=get_model(model).techniques)
    while not training.done:
        training.step()
    return training


def vae(data, steps, seed=0):
    "Train a plain VAE, which compares pixels, with the generator and the encoder that VAE-GAN has."
    gan = settings('vaegan')
    generator, _ = seeded(lambda: derived_networks(Architecture(A.cells[:2]), gan, data.channels), seed)
    optimizer, rng, stream = torch.optim.Adam(generator.parameters(), lr=2e-3), make_rng(seed), data.batches(gan.d_batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 2e-4)
    for _ in range(steps):
        images = next(stream).images
        mean, log_variance = generator.encoder.moments(images)
        loss = kl_to_normal(mean, log_variance).mean() + unlikeness(images, generator(reparametrised(mean, log_variance, rng)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return generator.eval()


@torch.no_grad()
def measured(generator, held, evaluator):
    "Return figures of a trained generator, and a grid: 32 drawn images, 16 held out ones, and their reconstructions."
    x, z = to_float(held.images), torch.randn(1000, generator.latent_dim, generator=make_rng(1))
    back, images = generate_images(lambda x: generator(generator.encoder(x)), x), generate_images(generator, z)
    scores = evaluate(generator, evaluator, 1000)
    facts = dict(score=scores.score, fid=scores.fid, reconstruction=(back - x).square().mean().item(),
                 latents=(generate_images(generator.encoder, images) - z).square().mean().item())
    return facts, torch.cat([images[:32], x[:16], back[:16]])



@torch.no_grad()
def worth(encoder, data, held, labelled=(4000, 200)):
    "Return the accuracy of linear classifiers of an encoder's features, of a random encoder's and of pixels, by number of labels."
    chance = seeded(lambda: copy.deepcopy(encoder).apply(lambda part: getattr(part, 'reset_parameters', lambda: None)()), 5).train()
    chance.body(to_float(data.images[:2000]))                # its batch norm measures the images
    looks = dict(pixels=lambda x: x.flatten(1), random=chance.eval().body, features=encoder.body, codes=encoder)
    own, others = to_float(data.images), to_float(held.images)
    right = lambda look, n: linear_accuracy(look(own[:n]), data.labels[:n], look(others), held.labels)
    return {f'{name} {n}': right(look, n) for name, look in looks.items() for n in labelled}


def missing(name, wanted):
    "Return the rows that a file of results lacks."
    path = RESULTS/name
    done = [json.loads(line) for line in path.open()] if path.exists() else []
    return [row for row in wanted if not any(row.items() <= old.items() for old in done)]


def store(name, row, command):
    "Append a row with its command."
    row = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()} | dict(command=command)
    with (RESULTS/name).open('a') as file:
        file.write(json.dumps(row) + '\n')
    print(row, flush=True)


def models(names):
    "Train models on digits."
    data, held = digits(16).split(.2)
    wanted = [(model, int(steps or STEPS)) for model, _, steps in (name.partition('@') for name in names)]
    for row in missing('encoders.jsonl', [dict(model=model, seed=0, steps=steps, width=WIDTH) for model, steps in wanted]):
        start = time.process_time()
        generator = vae(data, row['steps']) if row['model'] == 'vae' else trained(row['model'], data, row['steps']).generator
        seconds = time.process_time() - start
        facts, grid = measured(generator, held, Evaluator(digit_extractor(), digits(16)))
        save_png(IMAGES/f"{row['model']}.png", grid, 16, 2)
        facts |= worth(generator.encoder, data, held)
        command = f"python tests/encoder_runs.py {row['model']}@{row['steps']}"
        store('encoders.jsonl', row | dict(cpu_seconds=round(seconds)) | facts, command)


def modes(seeds, steps=400):
    "Count the kinds of stacked digits that a GAN misses."
    data, extractor = stacked_digits(16), digit_extractor()
    base = replace(RECIPES['digits'].gan, g_width=WIDTH, d_width=WIDTH, latent_dim=16, beta1=.5, beta2=.99)
    for row in missing('modes.jsonl', [dict(model=model, seed=seed, steps=steps) for seed in seeds for model in ('gan', WEIGHTS)]):
        gan = base if row['model'] == 'gan' else get_model('mrgan').settings(replace(base, techniques=(row['model'],)))
        training = FinalTraining(Architecture(A.cells[:2]), data, gan, TrainConfig(steps=steps, eval_every=0, decay_lr=True), row['seed'])
        training.advance(steps)
        images = generate_images(training.generator, torch.randn(10_000, 16, generator=make_rng(1)))
        kinds = kinds_of(images, extractor)
        if row['seed'] == 0:
            save_png(IMAGES/f"modes_{row['model'].partition('=')[0]}.png", images[:32], 16, 2)
        digit = torch.stack([kinds // 100, kinds // 10 % 10, kinds % 10]).flatten().bincount(minlength=10)
        facts = coverage(kinds)._asdict() | dict(digits=(digit / digit.sum()).mul(1000).round().int().tolist())
        store('modes.jsonl', row | facts, f"python tests/encoder_runs.py modes {row['seed']}")


if __name__ == '__main__':
    what, *rest = sys.argv[1:]
    modes([int(seed) for seed in rest]) if what == 'modes' else models([what, *rest])

"Faults to inject into a process: functions for `Running(before=...)`."
import itertools
import math
from dataclasses import replace

import torch

import autogan_nb.gan.training as training
from autogan_nb.gan.losses import get_loss
from autogan_nb.gan.objective import Term
from autogan_nb.metrics.evaluator import Evaluator
from autogan_nb.search.dynamic_reset import SharedGAN


def poison(
    what,  # 'reward', 'gradient', 'loss of the generator', 'loss of the discriminator'
    part,  # 'search' or 'train'; the search's 44 generator steps come first, 20 of each training follow
    at,    # the first of that part's steps (or rewards) that is spoilt
    times, # how many in a row are spoilt
):
    "Make a loss, a gradient or a reward NaN."
    count = itertools.count(1)
    def now(): return at <= next(count) < at + times
    if what == 'reward':
        measure = Evaluator.reward
        Evaluator.reward = lambda self, images: math.nan if now() else measure(self, images)
        return
    make = training.make_objective
    def poisoned(name, *added):
        objective = make(name, *added)
        if (name == 'hinge') != (part == 'search'): return objective
        d, g = objective.d_terms[0], objective.g_terms[0]
        spoilt_d = Term(lambda *seen: d(*seen) * (math.nan if now() else 1))
        spoilt_g = Term(lambda *seen: g(*seen) * (math.nan if now() else 1))
        spoilt_gradient = Term(lambda D, real, fake: get_loss(name).g(_spoilt(D(fake)) if now() else D(fake)))
        return {'loss of the discriminator': replace(objective, d_terms=(spoilt_d,)),
                'loss of the generator': replace(objective, g_terms=(spoilt_g,)),
                'gradient': replace(objective, g_terms=(spoilt_gradient,))}[what]
    training.make_objective = poisoned


def _spoilt(x):
    "Return the same values, whose gradient will be NaN."
    x = x.clone()
    x.register_hook(lambda gradient: gradient * math.nan)
    return x


def black():
    "Make every child generator draw nothing but black."
    def images(self, arch, z): return torch.full((len(z), self.data.channels, *[arch.size(self.gan.bottom)]*2), -1., device=z.device)
    SharedGAN.images = images

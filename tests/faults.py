"Faults put in on purpose, in the process that is to meet them: functions for `Running(before=...)`."
import itertools
import math

import torch

import autogan_nb.gan.training as training
from autogan_nb.gan.losses import AdversarialLoss
from autogan_nb.metrics.evaluator import Evaluator
from autogan_nb.search.search import Search


def poison(
    what,  # 'reward', 'gradient', 'loss of the generator', 'loss of the discriminator'
    part,  # 'search' or 'train'; the search's 44 generator steps come first, 20 of each training follow
    at,    # at which of that part's steps (rewards)
    times, # and how many in a row
):
    "Make a number NaN."
    count = itertools.count(1)
    def now(): return at <= next(count) < at + times
    if what == 'reward':
        measure = Evaluator.reward
        Evaluator.reward = lambda self, images: math.nan if now() else measure(self, images)
        return
    get_loss = training.get_loss
    def get_poisoned(name):
        loss = get_loss(name)
        if (name == 'hinge') != (part == 'search'): return loss
        def d(real, fake): return loss.d(real, fake) * (math.nan if now() else 1)
        def g(fake): return loss.g(fake) * (math.nan if now() else 1)
        def g_with_gradient(fake): return loss.g(_spoilt(fake) if now() else fake)
        return {'loss of the discriminator': AdversarialLoss(d, loss.g), 'loss of the generator': AdversarialLoss(loss.d, g), 'gradient': AdversarialLoss(loss.d, g_with_gradient)}[what]
    training.get_loss = get_poisoned


def _spoilt(x):
    "The same values; their gradient is NaN."
    x = x.clone()
    x.register_hook(lambda gradient: gradient * math.nan)
    return x


def black():
    "Every child draws nothing but black."
    def images(self, arch, z): return torch.full((len(z), self.data.channels, *[arch.size(self.gan_config.bottom)]*2), -1., device=z.device)
    Search.images = images

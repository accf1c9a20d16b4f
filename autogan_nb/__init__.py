"Neural architecture search for GAN generators (AutoGAN), told in notebooks that run."
# Written by hand: no notebook exports this file. nbdev_export only keeps the version in step with settings.ini.
# The names that people start with are imported on first use, so `import autogan_nb` loads neither torch nor numpy.
from importlib import import_module

__version__ = "0.1.0"

_HOMES = dict(  # name to the module that defines it
    Architecture='search.space', A='search.space', B='search.space', C='search.space',
    Search='search.search', SearchConfig='gan.configs', make_search='search.search',
    FinalTraining='search.derive', DerivedGenerator='search.derived_gan', load_generator='search.derived_gan',
    GANConfig='gan.configs', Evaluator='metrics.evaluator', load_data='data.datasets', show_images='show')

__all__ = list(_HOMES)


def __getattr__(name):
    "Import one of the names in `__all__`; AttributeError for any other name."
    if name not in _HOMES: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(import_module(f'.{_HOMES[name]}', __name__), name)
    return value


def __dir__(): return sorted({*globals(), *__all__})

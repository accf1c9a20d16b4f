"Short lessons for encoders of sentences: import the fixture into a test module that trains all models."
import pytest

from autogan_nb.models.stackgan import ReadInStages
from autogan_nb.models.words import ReadWords


@pytest.fixture(autouse=True)
def short_lessons(monkeypatch):
    "Train encoders of sentences for a few steps only."
    for technique in (ReadWords, ReadInStages):
        seed, _, *others = technique.__init__.__defaults__
        monkeypatch.setattr(technique.__init__, '__defaults__', (seed, 20, *others))

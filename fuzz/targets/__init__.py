"""Every reader, by name."""

from fuzz.driving import Target
from fuzz.targets.answers import ANSWERS
from fuzz.targets.models import MODELS
from fuzz.targets.numbers import NUMBERS
from fuzz.targets.runs import RUNS
from fuzz.targets.texts import TEXTS

TARGETS: dict[str, Target] = {target.name: target for target in (*TEXTS, *RUNS, *NUMBERS, *ANSWERS, *MODELS)}

"""lm-evaluation-harness without its progress bars, its log, and its traces in the process."""

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """While open, the harness and `datasets` say nothing below errors; global random states are as before afterwards."""
    with ExitStack() as stack:
        stack.enter_context(_random_states_kept())
        for name in ("lm_eval", "lm-eval", "datasets"):
            stack.enter_context(_only_errors(logging.getLogger(name)))
        stack.enter_context(_without_bars())
        yield


@contextmanager
def _random_states_kept() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _only_errors(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _without_bars() -> Iterator[None]:
    import lm_eval.api.task as building

    import datasets

    bars, hidden = building.tqdm, datasets.are_progress_bars_disabled()
    building.tqdm = partial(bars, disable=True)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        building.tqdm = bars
        if not hidden:
            datasets.enable_progress_bars()

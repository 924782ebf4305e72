"""Hugging Face without its own progress bars and advice: what is worth saying, this package says itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging

_LOCK = threading.Lock()
_SILENT: list[None] = []
_BEFORE: list[tuple[int, bool]] = []


@contextmanager
def quietly() -> Iterator[None]:
    """Silence the progress bars of transformers and huggingface_hub, and what transformers logs below errors; restore both.

    Several threads may be silent at once: the first one silences, the last one restores.
    """
    with _LOCK:
        if not _SILENT:
            _BEFORE[:] = [(logging.get_verbosity(), logging.is_progress_bar_enabled())]
            logging.set_verbosity_error()
            logging.disable_progress_bar()
        _SILENT.append(None)
    try:
        yield
    finally:
        with _LOCK:
            _SILENT.pop()
            if not _SILENT:
                _restore(*_BEFORE.pop())


def _restore(verbosity: int, bars: bool) -> None:
    logging.set_verbosity(verbosity)
    if bars:
        logging.enable_progress_bar()

"""The same targets guided by coverage: atheris watches which lines of the package a case reaches. Installed apart: pip install atheris."""

import gc
import sys
from random import Random
from types import FunctionType

import atheris

from fuzz.driving import Findings, Target, folder_for, is_accepted, keep

WATCHED = ("trustrace", "yaml", "json")
"""Packages whose lines count as reached. All that torch brings would take minutes to prepare, and reads no file here."""


def run_guided(target: Target, *, cases: int, seconds: float, seed: int) -> int:
    """Fuzz `target` until `cases` or `seconds` are over; what fails is kept as everywhere. The process ends with atheris."""
    found = Findings(name=target.name)
    with folder_for(target) as (folder, valid):
        seeds = folder / ".seeds"
        seeds.mkdir()
        for place, content in enumerate(valid):
            (seeds / str(place)).write_bytes(content)

        def one(content: bytes) -> None:
            before = len(found.failures)
            is_accepted(target, folder, content, found)
            if len(found.failures) > before:
                keep(found)

        def mutated(content: bytes, most: int, number: int) -> bytes:
            rng = Random(number)
            try:
                changed = content if rng.random() < 0.5 else target.mutate(rng, content)
            # What is wrong already may be beyond a mutation that follows the format.
            except Exception:  # noqa: BLE001
                changed = content
            return bytes(atheris.Mutate(changed[:most], most))

        _watch()
        limits = [f"-runs={cases}", f"-max_total_time={int(seconds)}", f"-seed={seed + 1}", "-rss_limit_mb=8000"]
        atheris.Setup([sys.argv[0], *limits, str(seeds)], one, custom_mutator=mutated)
        atheris.Fuzz()
    return 1 if found.failures else 0


def _watch() -> None:
    """Let atheris see which branches of the watched packages are taken."""
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and str(one.__module__).partition(".")[0] in WATCHED:
            atheris.instrument_func(one)

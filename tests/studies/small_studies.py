"""Steering studies that take a second: tiny models of one shape, a data set whose labels its last word gives away, prose to read."""

import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from trustrace.models import tiny
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.steering.run import run_steer

SETTINGS = Settings(device="cpu")
READING: dict[str, Any] = {"name": "world_text", "limit": 2}


def pets(path: Path, *, seed: int = 0, rows: int = 48, wrong: float = 0.0) -> Path:
    """A CSV of statements about cats and dogs, some of which are labelled wrongly."""
    words = random.Random(seed)
    lines = []
    for row in range(rows):
        animal = ("dog", "cat")[row % 2 if words.random() >= wrong else words.randrange(2)]
        lines.append(f"{words.choice('abcdefgh')}{row} is a {animal},{row % 2},g{row // 2}")
    path.write_text("\n".join(["statement,label,group", *lines]) + "\n")
    return path


def series(folder: Path, *, steps: tuple[int, ...] = (0, 1, 2)) -> Path:
    """A run of tiny models, a target of the same shape, and the data."""
    tiny.save_series(folder / "series", "llama", steps=steps)
    tiny.save(folder / "target", "llama", seed=9)
    pets(folder / "pets.csv")
    (folder / "prose.txt").write_text("It was a long way to the sea, and nobody spoke. " * 24)
    return folder


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    """A study of what `series` made, as a YAML file holds it."""
    pets_better = {
        "dataset": {"name": "pets", "path": str(folder / "pets.csv")},
        "task": READING,
        "quantity": "perplexity",
    }
    return {
        "study": "steer",
        "name": "small",
        "sources": {"source": str(folder / "series")},
        "targets": [str(folder / "target")],
        "contrasts": [pets_better],
        "sites": ["block_0", "block_1"],
        "alphas": [-0.2, 0.2],
        "random_controls": 1,
        "perplexity": {"task": READING, "ratio": None},
        **changes,
    }


def study(folder: Path, **changes: Any) -> SteerConfig:
    return SteerConfig.read(values(folder, **changes), where="study.yaml")


def steered(out: Path, config: SteerConfig, settings: Settings = SETTINGS) -> list[dict[str, Any]]:
    """The rows of a study that is run in `out`."""
    return rows_in(run_steer(config, out=out, settings=settings).parent)


def rows_in(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(run / "measurements.parquet").to_pylist()
    return found

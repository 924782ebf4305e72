"""Amber's 360 checkpoints of 27 GB on 1 to 64 workers, in simulated time: `python -m benchmarks.scale CSV` writes what docs/scale.md shows.

Streams, disks and the queue are those of a trace; the network below them is simulated and sleeping stands for models. Time stands still
while the real code works, so that a busy machine makes the simulations slow and not wrong.
"""

import csv
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants

from benchmarks.rows import Row
from benchmarks.simulation import Bound, Crew, Outcome, Regime, simulate, suite

CHECKPOINTS = 360
WORKERS = (1, 2, 4, 8, 16, 32, 64)
CREW, REPEATS = 8, 3
BESIDE = 4
"""Simulations at a time."""

PUBLISHED, RIGOROUS = 463.0, 127.0
"""Seconds of computing for a checkpoint on one H200 under both protocols, as docs/paper/amber.md foresees them."""

COMPUTE_BOUND = Regime(name="compute-bound", compute=PUBLISHED)
BALANCED = Regime(name="balanced", compute=RIGOROUS)
NETWORK_BOUND = Regime(name="network-bound", compute=RIGOROUS, on_a_line=64)
SLOW_LINES = Regime(name="slow lines", compute=RIGOROUS, line=0.2e9, each=0.2e9)
REGIMES = (COMPUTE_BOUND, BALANCED, NETWORK_BOUND, SLOW_LINES)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A simulation.

    Attributes:
        what: What is asked: how many ``workers``, how far ``ahead``, or what a crew can do ``against`` misfortune.
        regime: What everything takes.
        crew: Who works.
        crew_is: The crew in words.
        repeat: Which time.
    """

    what: str
    regime: Regime
    crew: Crew
    crew_is: str = "alike"
    repeat: int = 0

    @property
    def bound(self) -> Bound:
        return Bound.of(self.regime, self.crew, checkpoints=CHECKPOINTS)


def cases() -> Iterator[Case]:
    """Everything that is simulated."""
    for regime in REGIMES:
        for workers in WORKERS:
            for repeat in range(REPEATS if workers == CREW else 1):
                yield Case(what="workers", regime=regime, crew=Crew.of(workers), repeat=repeat)
    for ahead in (0, 1, 2, 3):
        further = replace(BALANCED, ahead=ahead, budget=(ahead + 1) * 30 * 10**9)
        yield Case(what="ahead", regime=further, crew=Crew.of(CREW))
    yield from _misfortunes()


def _misfortunes() -> Iterator[Case]:
    half_way = Bound.of(COMPUTE_BOUND, Crew.of(CREW), checkpoints=CHECKPOINTS).compute / 2
    slow, alike = (0.5, *(1.0,) * (CREW - 1)), (1.0,) * CREW
    for dealt in (False, True):
        crew = Crew(speeds=slow, dealt=dealt)
        yield Case(what="against", regime=COMPUTE_BOUND, crew=crew, crew_is="one at half speed")
    crew = Crew(speeds=alike, ends={0: half_way})
    yield Case(what="against", regime=COMPUTE_BOUND, crew=crew, crew_is="one ends half-way")


def measured(case: Case) -> Outcome:
    """What a simulation gave, in a cache of its own."""
    checkpoints = suite(CHECKPOINTS)
    with tempfile.TemporaryDirectory() as folder:
        constants.HF_HUB_CACHE = folder
        return simulate(case.regime, case.crew, checkpoints=checkpoints)


def sweep() -> list[dict[str, str]]:
    """All simulations, a row each."""
    every = list(cases())
    with ProcessPoolExecutor(max_workers=BESIDE) as pool:
        return [_row(case, outcome) for case, outcome in zip(every, pool.map(measured, every), strict=True)]


def _row(case: Case, outcome: Outcome) -> dict[str, str]:
    regime, bound, workers = case.regime, case.bound, len(case.crew.speeds)
    computed = len(outcome.finished) * regime.compute
    return {
        "what": case.what,
        "regime": regime.name,
        "workers": str(workers),
        "crew": case.crew_is,
        "queue": "dealt" if case.crew.dealt else "shared",
        "ahead": str(regime.ahead),
        "budget_gb": f"{regime.budget / 1e9:g}",
        "repeat": str(case.repeat),
        "download_hours": f"{bound.download / 3600:.4f}",
        "compute_hours": f"{bound.compute / 3600:.4f}",
        "load_hours": f"{bound.load / 3600:.4f}",
        "steps_hours": f"{bound.steps / 3600:.4f}",
        "makespan_hours": f"{outcome.makespan / 3600:.4f}",
        "over_bound": f"{outcome.makespan / bound.largest:.4f}",
        "utilisation": f"{computed / workers / outcome.makespan:.4f}",
        "disk_share": f"{outcome.disk:.4f}",
        "checkpoints": str(len({key for _, key in outcome.finished})),
        "measurements": str(len(outcome.finished)),
        "own_seconds": f"{outcome.own:.4f}",
    }


def run() -> list[Row]:
    """Every regime at 8 workers against the bound; the disk in all simulations."""
    rows = sweep()
    return [*(_against_the_bound(regime, rows) for regime in REGIMES), _on_the_disk(rows)]


def _against_the_bound(regime: Regime, rows: Sequence[dict[str, str]]) -> Row:
    mine = [row for row in rows if row["what"] == "workers" and row["regime"] == regime.name]
    each = {int(row["workers"]): row for row in mine}
    told = ", ".join(f"{workers}: {float(row['over_bound']):.2f}" for workers, row in each.items())
    return Row.of(
        [1 / float(row["over_bound"]) for row in mine if row["workers"] == str(CREW)],
        what=f"{CHECKPOINTS} checkpoints of 27 GB, simulated, {CREW} workers, {regime.name}",
        baseline="the largest of all downloading, all computing and all loading, each divided evenly",
        reach=1 / 1.1,
        detail=f"makespan over that bound by workers {told}",
        threads=1,
    )


def _on_the_disk(rows: Sequence[dict[str, str]]) -> Row:
    shares = [float(row["disk_share"]) for row in rows]
    return Row.of(
        [1 / share for share in shares],
        what=f"most of a disk at any time, {len(rows)} simulations",
        baseline="the budgets of the workers that share it",
        reach=1.0,
        detail=f"at most {max(shares):.1%}, a file counted in full from its first byte",
        threads=1,
    )


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path(sys.argv[1]), sweep())

"""A made-up comparison of checkpoints shaped like a real one: early probes that read nothing, a late rise, a dataset turned round."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from tests.report.tables import Shape as TraceShape
from tests.report.tables import as_table, rows, write_run
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Estimate, Measurement
from trustrace.measures.over_training.compare import FROM
from trustrace.measures.over_training.trajectories import Trajectory

N, N_GROUPS = 80, 20
MODEL = "acme--tiny"


@dataclass(frozen=True, kw_only=True)
class DynamicsShape:
    """How big a comparison is."""

    datasets: tuple[str, ...] = ("reliability/defined", "toxicity/defined")
    n_checkpoints: int = 5
    sites: tuple[str, ...] = ("block_0", "block_1")


def checkpoints(shape: DynamicsShape) -> list[Checkpoint]:
    """Step 0, then powers of ten."""
    steps = [0, *(10**place for place in range(1, shape.n_checkpoints))]
    return [
        Checkpoint(family="", model=MODEL, revision=f"step_{step}", step=step, tokens_seen=step * 1000)
        for step in steps
    ]


def dynamics_rows(shape: DynamicsShape) -> list[Measurement]:
    """Every row of a table of this shape."""
    series = checkpoints(shape)
    found: list[Measurement] = []
    if len(series) > 1:
        for dataset in shape.datasets:
            for depth, site in enumerate(shape.sites):
                found += _of_site(dataset, site, depth, series)
            found += _between_sites(dataset, shape.sites, series[-1])
    if len(shape.datasets) > 1:
        found += _between_datasets(shape, series[-1])
    return found


def _row(
    quantity: str,
    value: float,
    *,
    at: tuple[str, str, Checkpoint],
    half: float = math.nan,
    method: str = "logistic",
    source: str = "",
    note: str = "",
    role: str = "measured",
) -> Measurement:
    dataset, site, checkpoint = at
    return Measurement.of(
        Estimate(
            quantity=quantity,
            method=f"{method}{FROM}{source}" if source else method,
            value=value,
            lower=value - half,
            upper=value + half,
            n=N,
            n_groups=N_GROUPS,
            role=role,
            note=note,
        ),
        dataset=dataset,
        protocol="rigorous",
        seed=0,
        checkpoint=checkpoint,
        site=site,
        position="last",
    )


def auroc(source: int, target: int) -> float:
    """The first two checkpoints hold nothing, but their probes read what comes later; of later ones one pair is turned and one is lost."""
    if target < 2:
        return 0.5
    if (source, target) in {(2, 4), (4, 2)}:
        return 0.211 if source < target else 0.511
    return (0.111, 0.889)[source] if source < 2 else 0.9 + 0.01 * source + 0.001 * target


def _of_site(dataset: str, site: str, depth: int, series: Sequence[Checkpoint]) -> Iterator[Measurement]:
    for j, target in enumerate(series):
        at = (dataset, site, target)
        tolerance = math.nan if j == 0 else 0.5 + j
        yield _row("noise tolerance", tolerance, at=at, half=0.25, note="undefined: at chance" if j == 0 else "")
        for i, source in enumerate(series):
            for how in ("logistic own", "logistic source", "mass_mean own"):
                drop = 0.05 * (how != "logistic own")
                yield _row("transfer auroc", auroc(i, j) - drop, at=at, half=0.04, method=how, source=source.key)
            yield from _chance(i, j, at, source)
            if i <= j:
                yield from _drift(i, j, at, source)
            if i < j:
                yield from _change(i, j, depth, at, source)
    yield from _of_course((dataset, site, series[-1]), depth)


def _chance(i: int, j: int, at: tuple[str, str, Checkpoint], source: Checkpoint) -> Iterator[Measurement]:
    """Chance reaches what the last checkpoint makes of the third, and nothing else that is above 0.6."""
    method, half = "logistic own", 0.45 if (i, j) == (4, 3) else 0.1
    known = {"at": at, "method": method, "source": source.key}
    yield _row("transfer auroc null", 0.5, half=half, role="null", **known)
    p = 0.6 if half > 0.1 or abs(auroc(i, j) - 0.5) <= half else 0.005
    yield _row("transfer auroc p", p, **known)
    yield _row("transfer auroc q", 2 * p if p < 0.5 else p, **known)


def _drift(i: int, j: int, at: tuple[str, str, Checkpoint], source: Checkpoint) -> Iterator[Measurement]:
    known = i > 0
    ceiling = 0.6 + 0.05 * i if known else math.nan
    cosine = ceiling * (1 - 0.1 * (j - i)) if known else 0.02
    note = "" if known else "undefined: the direction is not reliable"
    yield _row("direction cosine", cosine, at=at, half=0.05, source=source.key)
    yield _row("direction cosine ceiling", ceiling, at=at, half=0.1, source=source.key, role="ceiling", note=note)
    yield _row(
        "direction cosine corrected",
        1 - 0.1 * (j - i) if known else math.nan,
        at=at,
        half=0.02,
        source=source.key,
        note=note,
    )


def _change(i: int, j: int, depth: int, at: tuple[str, str, Checkpoint], source: Checkpoint) -> Iterator[Measurement]:
    """Every pair over the rise differs, the others by p alone and not by q; at the first site the second pair falls."""
    has_risen = i < 2 <= j
    value = (-0.2 if depth == 0 and (i, j) == (1, 2) else 0.3) if has_risen else 0.01
    yield _row("accuracy change", value, at=at, half=0.05, source=source.key)
    yield _row("accuracy change p", 0.001 if has_risen else 0.02, at=at, source=source.key)
    yield _row("accuracy change q", 0.004 if has_risen else 0.06, at=at, source=source.key)


def _of_course(at: tuple[str, str, Checkpoint], depth: int) -> Iterator[Measurement]:
    """The first site emerges and what it learned flickers; the second never does, and the level is passed from the start."""
    times = {"level": 10_000.0, "half": 100_000.0, "step": 100_000.0, "logistic": 31_623.0}
    never = "never: no rise is significant"
    for name, value in times.items():
        if depth == 0:
            yield _row(f"accuracy emergence {name}", value, at=at, half=0.5 * value)
        elif name == "level":
            yield _row(f"accuracy emergence {name}", 0.0, at=at, note="from the start: it is above the level")
        else:
            yield _row(f"accuracy emergence {name}", math.nan, at=at, note=never)
    yield _row("accuracy emergence q", (0.001, 0.7)[depth % 2], at=at)
    for kind, share in (("always right", 0.1), ("learned", 0.6), ("lost", 0.2), ("never right", 0.1)):
        yield _row(kind, share, at=at, half=0.05)
    for kind in ("always right", "never right"):
        yield _row(kind, 0.01, at=at, half=0.005, role="control")
    yield _row("forgettings", 0.31, at=at, half=0.06)
    yield _row("forgettings", 0.82, at=at, half=0.07, method="logistic shuffled", role="control")
    yield _row("forgettings", 0.93, at=at, half=0.08, method="logistic strangers", role="control")
    yield _row("forgettings beyond shuffled", -0.51, at=at, half=0.09)


def _between_sites(dataset: str, sites: Sequence[str], last: Checkpoint) -> Iterator[Measurement]:
    if len(sites) < 2:
        return
    for i, source in enumerate(sites):
        for j, target in enumerate(sites):
            value = 0.95 - 0.2 * abs(i - j)
            yield _row(
                "transfer auroc", value, at=(dataset, target, last), half=0.03, method="logistic own", source=source
            )


def _between_datasets(shape: DynamicsShape, last: Checkpoint) -> Iterator[Measurement]:
    for site in shape.sites:
        for i, source in enumerate(shape.datasets):
            for j, target in enumerate(shape.datasets):
                value = 0.93 if i == j else (0.12 if i < j else math.nan)
                note = "undefined: too few rows are left" if i > j else ""
                yield _row(
                    "transfer auroc",
                    value,
                    at=(target, site, last),
                    half=0.03,
                    method="logistic own",
                    source=source,
                    note=note,
                )


def trajectories(n_checkpoints: int) -> list[Trajectory]:
    """Eighty statements: eight always right, forty-eight learned at the third checkpoint, sixteen lost, eight never right."""
    kinds = [("always right", 0, n_checkpoints)] * 8 + [("learned", 2, n_checkpoints - 2)] * 48
    kinds += [("lost", None, 1)] * 16 + [("never right", None, 0)] * 8
    return [
        Trajectory(row=row, kind=kind, learned_at=at, forgettings=int(kind == "lost"), right=right, margin=right - 1.25)
        for row, (kind, at, right) in enumerate(kinds)
    ]


def write_dynamics(
    folder: Path,
    shape: DynamicsShape | None = None,
    *,
    measured: Sequence[Measurement] | None = None,
    text: str = "a statement that nobody gets right",
    has_trajectories: bool = True,
    failures: Sequence[str] = (),
    duplicates: Sequence[tuple[str, str]] = (),
) -> Path:
    """The folder of a trace whose checkpoints were compared."""
    shape = shape or DynamicsShape()
    write_run(folder, rows(TraceShape(datasets=shape.datasets[:1], n_checkpoints=2, n_blocks=1)))
    pq.write_table(as_table(dynamics_rows(shape) if measured is None else measured), folder / "dynamics.parquet")
    units = [f"dynamics-{place}" for place in range(len(shape.datasets))]
    for unit, dataset in zip(units, shape.datasets, strict=True):
        if has_trajectories:
            _write_unit(folder / "units" / unit, dataset, shape, text)
    summary = {
        "checkpoints": [one.key for one in checkpoints(shape)],
        "failures": list(failures),
        "duplicates": list(duplicates),
        "units": units,
    }
    (folder / "dynamics.json").write_text(json.dumps(summary), "utf-8")
    return folder


def _write_unit(folder: Path, dataset: str, shape: DynamicsShape, text: str) -> None:
    folder.mkdir(parents=True)
    told = [asdict(one) for one in trajectories(shape.n_checkpoints)]
    site = {"hardest": [one | {"text": text, "label": 1} for one in reversed(told[-3:])], "statements": told}
    content = {
        "checkpoints": [one.key for one in checkpoints(shape)],
        "duplicates": [],
        "sites": dict.fromkeys(shape.sites, site),
    }
    (folder / "trajectories.json").write_text(json.dumps(content), "utf-8")
    (folder / "record.json").write_text(json.dumps({"name": dataset}), "utf-8")

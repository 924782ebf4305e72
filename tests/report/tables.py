"""A made-up tidy table with the shape of a real one: emergence at different times, floors, controls, undefined cells."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.draws import generator
from trustrace.core.measurements import Estimate, Measurement
from trustrace.core.sites import sites_of

DATASETS = ("reliability/defined", "toxicity/defined", "privacy/defined", "fairness/defined", "robustness/defined")
FLOORS = {"majority": 0.51, "length_and_case": 0.53, "word_ngrams": 0.60, "char_ngrams": 0.62}
MODEL = "acme--tiny-llama"
N, N_GROUPS = 960, 240


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How big a table is."""

    datasets: tuple[str, ...] = DATASETS
    n_checkpoints: int = 16
    n_blocks: int = 4
    model: str = MODEL
    protocol: str = "rigorous"
    position: str = "last"
    seed: int = 0


def checkpoints(shape: Shape) -> list[Checkpoint]:
    """Step 0, then log-spaced to 2.1 B tokens."""
    steps = [0, *np.unique(np.round(np.geomspace(1, 4096, shape.n_checkpoints - 1)).astype(int)).tolist()]
    steps += list(range(4097, 4097 + shape.n_checkpoints - len(steps)))
    return [
        Checkpoint(
            family="pretrain", model=shape.model, revision=f"step_{step:07d}", step=step, tokens_seen=step * 524_288
        )
        for step in steps[: shape.n_checkpoints]
    ]


def rows(shape: Shape) -> list[Measurement]:
    """Every row of a table of this shape."""
    found: list[Measurement] = []
    twin = Checkpoint(family="pretrain", model=shape.model, revision="random_init_0", step=0, tokens_seen=0)
    for place, dataset in enumerate(shape.datasets):
        rng = generator(0, "synthetic table", dataset, shape.protocol, shape.position, shape.seed)
        found += list(_text_floors(dataset, shape, rng))
        for checkpoint in checkpoints(shape):
            found += _at_checkpoint(checkpoint, dataset, place, shape, rng)
        found += [
            replace(row, role="floor") if row.role == "measured" else row
            for row in _at_checkpoint(twin, dataset, place, shape, rng)
        ]
    return found


def _text_floors(dataset: str, shape: Shape, rng: np.random.Generator) -> Iterator[Measurement]:
    for method, base in FLOORS.items():
        value = base + 0.02 * rng.standard_normal() if method != "majority" else base
        for quantity in ("accuracy", "auroc"):
            yield Measurement.of(
                _estimate(quantity, method, value, 0.015, role="floor"),
                dataset=dataset,
                protocol=shape.protocol,
                seed=shape.seed,
            )


def _at_checkpoint(
    checkpoint: Checkpoint, dataset: str, place: int, shape: Shape, rng: np.random.Generator
) -> Iterator[Measurement]:
    for site in sites_of(shape.n_blocks):
        depth = min(site.depth, shape.n_blocks + 1) / (shape.n_blocks + 1)
        accuracy = _accuracy(checkpoint, depth, place) + 0.006 * float(rng.standard_normal())
        for estimate in _estimates(accuracy, float(rng.standard_normal())):
            yield Measurement.of(
                estimate,
                dataset=dataset,
                protocol=shape.protocol,
                seed=shape.seed,
                checkpoint=checkpoint,
                site=site.name,
                position=shape.position,
            )


def _accuracy(checkpoint: Checkpoint, depth: float, place: int) -> float:
    """Chance at first, then a rise whose time and height depend on the dataset and whose height peaks in the middle."""
    if not checkpoint.tokens_seen:
        return 0.52 + 0.03 * depth
    onset = 6.9 + 0.42 * place
    progress = 1 / (1 + math.exp(-3.2 * (math.log10(checkpoint.tokens_seen) - onset)))
    return 0.53 + (0.34 - 0.03 * place) * progress * math.exp(-(((depth - 0.6) / 0.42) ** 2))


def _estimates(accuracy: float, noise: float) -> list[Estimate]:
    loss = max(0.05, 0.75 - 0.9 * (accuracy - 0.5))
    control = 0.505 + 0.008 * noise
    values = {
        "accuracy": accuracy,
        "auroc": min(0.99, accuracy + 0.06),
        "log_loss": loss,
        "ece": 0.03 + 0.004 * abs(noise),
        "information_bound": math.log(2) - loss,
        "selectivity": accuracy - control,
        "mdl": 1.05 * loss / math.log(2),
        "compression": 0.95 * math.log(2) / loss,
        "selection_log_loss": loss + 0.002 * noise,
    }
    found = [_estimate(name, "logistic", value, 0.028) for name, value in values.items()]
    found.append(_estimate("accuracy", "logistic", control, 0.03, role="control"))
    for method, drop in (("mass_mean", 0.03), ("whitened_mean", 0.01)):
        found += [
            _estimate(name, method, values[name] - drop, 0.03) for name in ("accuracy", "auroc", "log_loss", "ece")
        ]
    return found


def _estimate(quantity: str, method: str, value: float, half: float, *, role: str = "measured") -> Estimate:
    has_interval = quantity not in {"mdl", "compression", "selection_log_loss"} and method != "majority"
    return Estimate(
        quantity=quantity,
        method=method,
        value=value,
        lower=value - half if has_interval else math.nan,
        upper=value + half if has_interval else math.nan,
        n=N,
        n_groups=N_GROUPS,
        role=role,
    )


def as_table(measurements: Sequence[Measurement]) -> pa.Table:
    """The rows as an Arrow table with the types a run writes."""
    kinds = dict.fromkeys(("value", "lower", "upper", "alpha"), pa.float64())
    kinds |= dict.fromkeys(("n", "n_groups", "step", "tokens_seen", "seed"), pa.int64())
    names = list(Measurement.__dataclass_fields__)
    columns = {name: [getattr(row, name) for row in measurements] for name in names}
    return pa.table(columns, schema=pa.schema([(name, kinds.get(name, pa.string())) for name in names]))


AUDITS = [
    {
        "dataset": "reliability/defined",
        "findings": [
            {
                "check": "group_leakage",
                "severity": "error",
                "count": 312,
                "of": 1952,
                "sentence": "312 of 1,952 rows share a group with a row of another split.",
                "examples": ["Is the sky green? Yes.", "Is the sky green? No."],
            },
            {
                "check": "duplicates",
                "severity": "warning",
                "count": 4,
                "of": 1952,
                "sentence": "4 statements occur twice.",
                "examples": ["Water boils at 100 degrees."],
            },
            {
                "check": "label_balance",
                "severity": "info",
                "count": 995,
                "of": 1952,
                "sentence": "51.0 % of the labels are 1.",
                "examples": [],
            },
        ],
    },
    {"dataset": "toxicity/defined", "findings": []},
]

STUDY = {
    "name": "tiny-llama on the books",
    "source": "runs/books",
    "checkpoints": "all",
    "sites": "all",
    "datasets": list(DATASETS),
    "protocol": "rigorous",
    "seed": 0,
}

MANIFEST = {
    "trustrace": "0.1.0",
    "python": "3.11.7",
    "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
    "machine": {"system": "Linux x86_64", "processor": "a processor", "cores": 2},
    "code_commit": "0123456789abcdef0123456789abcdef01234567",
}


def write_run(
    folder: Path,
    measurements: Sequence[Measurement] | pa.Table,
    *,
    study: dict[str, object] | None = None,
    manifest: dict[str, object] | None = None,
    audits: list[dict[str, object]] | None = None,
) -> Path:
    """A run folder as a study leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    table = measurements if isinstance(measurements, pa.Table) else as_table(measurements)
    pq.write_table(table, folder / "measurements.parquet")
    (folder / "study.json").write_text(json.dumps(STUDY if study is None else study), "utf-8")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST if manifest is None else manifest), "utf-8")
    if audits is not None:
        (folder / "audit.json").write_text(json.dumps(audits), "utf-8")
    return folder


def as_dicts(measurements: Sequence[Measurement]) -> list[dict[str, object]]:
    """Plain rows, to check a page against."""
    return [asdict(row) for row in measurements]

"""A made-up steering run with the shape of a real one: effects that are planted, controls, an instruction, answers, and a plan."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.report.tables import MANIFEST, write_run
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Estimate, Measurement, Role

MODEL = "acme--tiny-llama"
TARGET = "tuned@main"
TRUST, TOXIC = "reliability/defined", "toxicity/defined"
N, N_GROUPS = 200, 80


@dataclass(frozen=True, kw_only=True)
class SteeringShape:
    """How big a steering run is, and what is planted in it.

    Attributes:
        targets: The models that are steered.
        n_sources: Source checkpoints.
        n_random: Random directions of each contrast.
        n_lost: Random directions beyond these, no setting of which stays within the bound on perplexity.
        shuffled_gain: What a direction of shuffled labels adds at most; there is none where it is None, else one for each source.
        shuffled_cosine: Their cosine with the real vector of their checkpoint; not in the table where it is None.
        instruction: Whether the first contrast has one.
        general: Whether a general ability is measured.
        gain: What the best vector adds to the first contrast's number; a random direction adds `random_gain` at most.
        random_gain: See there.
    """

    targets: tuple[str, ...] = (TARGET,)
    n_sources: int = 3
    n_random: int = 3
    n_lost: int = 0
    shuffled_gain: float | None = None
    shuffled_cosine: float | None = None
    instruction: bool = True
    general: bool = True
    gain: float = 0.2
    random_gain: float = 0.03


@dataclass(frozen=True)
class _At:
    target: str
    vector: str = ""
    site: str = ""
    alpha: float = 0.0
    role: Role = "measured"


SITES = ("block_0", "block_1")
ALPHAS = (-0.5, 0.5, 1.0)
_TASKS = {
    TRUST: ("truthfulqa_mc1", "accuracy", "log_probability"),
    TOXIC: ("toxigen", "toxic", "linear"),
}
_PLAIN = {"truthfulqa_mc1": 0.4, "toxigen": 0.3, "lambada": 4.5, "arc_easy": 0.6}
_QUANTITIES = {
    "truthfulqa_mc1": ("accuracy", "log_probability"),
    "toxigen": ("toxic", "linear"),
    "lambada": ("perplexity", "log_probability"),
    "arc_easy": ("accuracy", "log_probability"),
}


def sources(shape: SteeringShape) -> list[Checkpoint]:
    """Log-spaced to a billion tokens."""
    return [
        Checkpoint(family="pretrain", model=MODEL, revision=f"step_{step:05d}", step=step, tokens_seen=step * 1_000_000)
        for step in (0, 10, 100, 1000, 10000)[: shape.n_sources]
    ]


def steering_rows(shape: SteeringShape) -> list[Measurement]:
    """Every row of a table of this shape."""
    found: list[Measurement] = []
    for target in shape.targets:
        for task in _tasks(shape):
            for half in ("development", "test"):
                found += _plain_rows(task, half, _At(target))
        for contrast in _TASKS:
            found += _contrast_rows(shape, target, contrast)
    for place, source in enumerate(sources(shape)):
        for contrast in _TASKS:
            for site in SITES:
                vector = f"mass_mean:{contrast}@{source.key}:{site}"
                estimate = _estimate("separation", "mass_mean", 0.6 + 0.1 * place, 0.04)
                found.append(_row(estimate, f"{contrast}/test", source, _At(source.key, vector, site)))
                if shape.shuffled_cosine is not None:
                    control = _At(source.key, f"shuffled_label:{contrast}@{source.key}:{site}", site, role="control")
                    cosine = _estimate("cosine_with_real", "shuffled_label", shape.shuffled_cosine, None)
                    found.append(_row(cosine, contrast, source, control))
    return found


def _tasks(shape: SteeringShape) -> list[str]:
    return [task for task in _PLAIN if shape.general or task != "arc_easy"]


def _contrast_rows(shape: SteeringShape, target: str, contrast: str) -> Iterator[Measurement]:
    task = _TASKS[contrast][0]
    families: list[tuple[str, Role, int]] = [
        (f"mass_mean:{contrast}@{source.key}", "measured", place) for place, source in enumerate(sources(shape))
    ]
    families += [(f"random_{place}:{contrast}", "control", place) for place in range(shape.n_random)]
    if shape.shuffled_gain is not None:
        families += [
            (f"shuffled_label:{contrast}@{source.key}", "control", place) for place, source in enumerate(sources(shape))
        ]
    for place in range(shape.n_random, shape.n_random + shape.n_lost):
        at = _At(target, f"random_{place}:{contrast}", "block_0", 1.0, "control")
        yield from _steered_rows(shape, contrast, "lambada", "development", at, place)
    chosen: list[_At] = []
    for vector, role, place in families:
        for site in SITES:
            for alpha in ALPHAS:
                at = _At(target, vector, site, alpha, role)
                yield from _steered_rows(shape, contrast, "lambada", "development", at, place)
                if alpha < 1 or site == "block_1":  # The rest passes the bound on perplexity.
                    yield from _steered_rows(shape, contrast, task, "development", at, place)
        chosen.append(_At(target, vector, "block_1", 1.0, role))
    if shape.instruction and contrast == TRUST:
        chosen.append(_At(target, f"instruction:{contrast}"))
    for at in chosen:
        for tested in _tasks(shape):
            yield from _steered_rows(shape, contrast, tested, "test", at, _number(at.vector))
    for at in (_At(target), *chosen):
        on_front = float(at.vector == f"mass_mean:{contrast}@{sources(shape)[-1].key}")
        estimate = Estimate(
            quantity="on_front", method="pareto", value=on_front, n=len(chosen) + 1, n_groups=len(chosen) + 1
        )
        yield _row(estimate, f"{contrast}/test", _checkpoint(target), at)
    correlation = _estimate(f"separation_with_{_TASKS[contrast][1]}", "mass_mean", 0.98, 0.01)
    yield _row(correlation, f"{contrast}/test", _checkpoint(target), _At(target, f"mass_mean:{contrast}"))


def _number(vector: str) -> int:
    kind = vector.partition(":")[0]
    if kind.startswith("random_"):
        return int(kind.removeprefix("random_"))
    steps = ["step_00000", "step_00010", "step_00100", "step_01000", "step_10000"]
    revision = vector.rpartition("@")[2]
    return steps.index(revision) if revision in steps else 0


def _change(shape: SteeringShape, contrast: str, task: str, at: _At, place: int) -> float:
    """What is planted: early vectors do less than late ones, random ones a little, instructions half."""
    if task == "lambada":
        return 0.4 * abs(at.alpha) * (1 + place / 10)
    if task == "arc_easy":
        return -0.02 * abs(at.alpha)
    if task != _TASKS[contrast][0]:
        return 0.0
    sign = -1 if _TASKS[contrast][1] == "toxic" else 1
    if at.vector.startswith("instruction"):
        return sign * shape.gain / 2
    if at.vector.startswith("shuffled_label"):
        return sign * (shape.shuffled_gain or 0.0) * at.alpha * (place + 1) / shape.n_sources
    if at.role == "control":
        return sign * shape.random_gain * at.alpha * (place + 1) / max(shape.n_random, 1)
    share = 0.5 if at.site == "block_0" else 1.0
    return sign * shape.gain * share * at.alpha * (place + 1) / shape.n_sources


def _steered_rows(
    shape: SteeringShape, contrast: str, task: str, half: str, at: _At, place: int
) -> Iterator[Measurement]:
    quantity, method = _QUANTITIES[task]
    change = _change(shape, contrast, task, at, place)
    width = 0.3 if task == "lambada" else 0.02
    checkpoint = _checkpoint(at.target)
    note = "one item undefined" if task == "toxigen" else ""
    for estimate in (
        _estimate(quantity, method, _PLAIN[task] + change, 0.05),
        _estimate(f"{quantity}_change", method, change, width),
        _estimate(f"{quantity}_change_p", method, 0.0005 if abs(change) > width else 0.4, None),
    ):
        yield _row(replace(estimate, role=at.role, note=note), f"{task}/{half}", checkpoint, at)


def _plain_rows(task: str, half: str, at: _At) -> Iterator[Measurement]:
    quantity, method = _QUANTITIES[task]
    yield _row(_estimate(quantity, method, _PLAIN[task], 0.05), f"{task}/{half}", _checkpoint(at.target), at)
    if task == "toxigen":
        yield _row(_estimate("empty", "count", 0.01, 0.01), f"{task}/{half}", _checkpoint(at.target), at)


def _checkpoint(key: str) -> Checkpoint:
    model, _, revision = key.rpartition("@")
    return Checkpoint(family="", model=model, revision=revision)


def _estimate(quantity: str, method: str, value: float, half: float | None) -> Estimate:
    nan = float("nan")
    lower, upper = (nan, nan) if half is None else (value - half, value + half)
    return Estimate(quantity=quantity, method=method, value=value, lower=lower, upper=upper, n=N, n_groups=N_GROUPS)


def _row(estimate: Estimate, dataset: str, checkpoint: Checkpoint, at: _At) -> Measurement:
    return Measurement.of(
        estimate,
        dataset=dataset,
        protocol="rigorous",
        seed=0,
        checkpoint=checkpoint,
        site=at.site,
        position="prompt_last+generated" if at.vector else "",
        vector=at.vector,
        alpha=at.alpha,
    )


def study(shape: SteeringShape) -> dict[str, Any]:
    """What was asked for."""
    return {
        "study": "steer",
        "name": "steering a small assistant",
        "contrasts": [
            {
                "dataset": {"name": name},
                "task": {"name": task, "path": None},
                "quantity": quantity,
                "method": None,
                "instruction": "Be truthful. " if name == TRUST and shape.instruction else None,
            }
            for name, (task, quantity, _) in _TASKS.items()
        ],
        "perplexity": {"task": {"name": "lambada", "path": None}, "ratio": 1.33, "bound": None},
        "sites": list(SITES),
        "alphas": list(ALPHAS),
        "protocol": "rigorous",
        "seed": 0,
    }


def write_steering_run(
    folder: Path,
    shape: SteeringShape | None = None,
    *,
    rows: Sequence[Measurement] | None = None,
    manifest: Mapping[str, Any] | None = None,
    study_changes: Mapping[str, Any] | None = None,
) -> Path:
    """A run folder as a steering study leaves it, with its plan, its choices and its answers."""
    shape = SteeringShape() if shape is None else shape
    listed = {source.key: ["0" * 64, source.step, source.tokens_seen] for source in sources(shape)}
    said = {**MANIFEST, "sources": listed, "targets": dict.fromkeys(shape.targets, "0" * 64), **(manifest or {})}
    run = write_run(
        folder,
        steering_rows(shape) if rows is None else rows,
        study={**study(shape), **(study_changes or {})},
        manifest=said,
    )
    planned = []
    for target in shape.targets:
        for contrast, (task, quantity, _) in _TASKS.items():
            origins = [*(source.revision for source in sources(shape)), *(["random"] if shape.n_random else [])]
            for place, origin in enumerate(origins):
                for step, name in (
                    ("search", f"{target}/{contrast}/{origin}"),
                    ("test", f"{target}/{contrast}/{origin}/{task}"),
                ):
                    unit = run / "units" / f"{step}-{len(planned)}"
                    unit.mkdir(parents=True)
                    planned.append({"unit": unit.name, "name": name})
                    if step == "search":
                        better = "lower" if quantity == "toxic" else "higher"
                        (unit / "chosen.json").write_text(json.dumps({"chosen": [], "better": better}), "utf-8")
                    else:
                        vectors = [source.key for source in sources(shape)][place : place + 1]
                        (unit / "samples.jsonl").write_text(_samples(task, contrast, vectors), "utf-8")
    (run / "plan.json").write_text(json.dumps(planned), "utf-8")
    return run


def _samples(task: str, contrast: str, keys: Sequence[str]) -> str:
    settings = [("", "", 0.0), *((f"mass_mean:{contrast}@{key}", "block_1", 1.0) for key in keys)]
    settings += [] if keys else [(f"random_0:{contrast}", "block_1", 1.0)]
    lines = []
    for vector, site, alpha in settings:
        for item in range(5):
            sample = {
                "dataset": f"{task}/test",
                "vector": vector,
                "site": site,
                "alpha": alpha,
                "question": f"Question {item}?",
                "response": f"Answer {item} of {vector or 'nobody'}",
                "p_true": 0.25 + alpha / 2,
            }
            lines.append(json.dumps(sample))
    return "\n".join(lines) + "\n"

"""Versions of a model side by side on a task: the plain one first, and what is said of the others against it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trustrace.core.measurements import Estimate, Measurement, Protocol, Role
from trustrace.core.progress import Progress
from trustrace.evaluation.estimates import changes, estimates
from trustrace.evaluation.outcomes import Outcome, Task
from trustrace.interventions.edits import Edit
from trustrace.interventions.positions import Positions
from trustrace.interventions.steering import Steering
from trustrace.models.language_model import LanguageModel
from trustrace.studies.settings import Settings


@dataclass(frozen=True, kw_only=True, eq=False)
class Version:
    """A model with something done to it.

    Attributes:
        vector: What is done, by name; empty for nothing.
        site: Where.
        alpha: How strongly.
        edits: The same as edits of the residual stream.
        role: ``control`` for what should do nothing.
    """

    vector: str = ""
    site: str = ""
    alpha: float = 0.0
    edits: tuple[Edit, ...] = ()
    role: Role = "measured"


PLAIN = Version()
"""The model as it is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Conventions:
    """What all numbers of a study share.

    Attributes:
        protocol: Whose conventions.
        seed: Of all draws.
        positions: Which tokens are steered.
    """

    protocol: Protocol = "rigorous"
    seed: int = 0
    positions: Positions = Positions()  # noqa: RUF009 - it is frozen


def run_versions(
    model: LanguageModel,
    versions: Sequence[Version],
    task: Task,
    *,
    conventions: Conventions,
    settings: Settings,
    progress: Progress,
) -> tuple[Outcome, ...]:
    """The outcome of each version, all of them in one batch."""
    steering = Steering(versions=tuple(version.edits for version in versions), positions=conventions.positions)
    with steering.on(model) as steered:
        return tuple(task.run(steered, batch_tokens=settings.batch_tokens, progress=progress))


def rows_of(
    model: LanguageModel,
    versions: Sequence[Version],
    outcomes: Sequence[Outcome],
    dataset: str,
    *,
    conventions: Conventions,
    with_plain: bool = True,
) -> list[Measurement]:
    """The numbers of each version on `dataset`, and for all but the first how they differ from it; its own only `with_plain`."""
    rows = []
    for place, (version, outcome) in enumerate(zip(versions, outcomes, strict=True)):
        if not place and not with_plain:
            continue
        found = estimates(outcome, seed=conventions.seed, role=version.role)
        if place:
            found += changes(outcome, outcomes[0], seed=conventions.seed, role=version.role)
        rows += [measured(model, one, version, dataset, conventions) for one in found]
    return rows


def measured(
    model: LanguageModel, estimate: Estimate, version: Version, dataset: str, conventions: Conventions
) -> Measurement:
    """`estimate` as a row: of which model, steered with what."""
    return Measurement.of(
        estimate,
        dataset=dataset,
        protocol=conventions.protocol,
        seed=conventions.seed,
        checkpoint=model.checkpoint,
        site=version.site,
        position=str(conventions.positions) if version.site else "",
        vector=version.vector,
        alpha=version.alpha,
    )


def samples_of(versions: Sequence[Version], outcomes: Sequence[Outcome], dataset: str) -> bytes:
    """What each version was asked and answered, as JSON lines."""
    lines = [
        _line({"dataset": dataset, "vector": version.vector, "site": version.site, "alpha": version.alpha, **sample})
        for version, outcome in zip(versions, outcomes, strict=True)
        for sample in outcome.samples
    ]
    return "".join(lines).encode()


def _line(sample: Mapping[str, object]) -> str:
    return json.dumps(sample, ensure_ascii=False) + "\n"

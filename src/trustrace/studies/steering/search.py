"""Which site and which strength: asked of the development half, within a bound on perplexity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError, MeasurementError
from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress
from trustrace.evaluation.estimates import undefined_beside, value_of
from trustrace.evaluation.outcomes import Better, Graded, Outcome, Task
from trustrace.interventions.applying import applied, length_of
from trustrace.interventions.edits import Edit
from trustrace.models.language_model import LanguageModel
from trustrace.steering.vectors import CONTROLS, SteeringVector
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import ContrastConfig, PerplexityConfig, SteerConfig
from trustrace.studies.versions import PLAIN, Conventions, Version, rows_of, run_versions

AT_ONCE = 32
"""Versions that are rows of one batch, the plain model among them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Searched:
    """What came of a search.

    Attributes:
        rows: Its numbers.
        chosen: The best version of each family that stayed within the bound; a family of which none did has none.
        better: Which way the quantity is better.
    """

    rows: list[Measurement]
    chosen: tuple[Version, ...]
    better: Better


def versions_of(vectors: Sequence[SteeringVector], study: SteerConfig, norms: Mapping[str, float]) -> list[Version]:
    """Every vector at every strength."""
    return [
        Version(
            vector=_family(vector),
            site=vector.site,
            alpha=alpha,
            edits=(applied(vector, alpha=alpha, unit=study.unit, target_norm=norms[vector.site]),),
            role="control" if vector.kind in CONTROLS else "measured",
        )
        for vector in vectors
        for alpha in study.alphas
    ]


def random_versions(
    like: Sequence[SteeringVector], study: SteerConfig, norms: Mapping[str, float], *, contrast: str
) -> list[Version]:
    """Random directions in the places of `like`, each strength as far as it moves there; one family is one draw for every site."""
    found = []
    first: dict[str, SteeringVector] = {}
    for vector in like:
        if vector.kind not in CONTROLS:
            first.setdefault(vector.site, vector)
    for number in range(study.random_controls):
        for site, vector in first.items():
            rng = generator(study.seed, "random direction", contrast, number, site)
            drawn = torch.from_numpy(rng.standard_normal(vector.d_model))
            unit = (drawn / torch.linalg.vector_norm(drawn)).float()
            length = length_of(vector, study.unit, norms[site])
            found += [
                Version(
                    vector=f"random_{number}:{contrast}",
                    site=site,
                    alpha=alpha,
                    edits=(Edit(site=site, kind="add", direction=unit, amount=alpha * length),),
                    role="control",
                )
                for alpha in study.alphas
            ]
    return found


def search(
    model: LanguageModel,
    versions: Sequence[Version],
    *,
    task: Task,
    perplexity: Task,
    contrast: ContrastConfig,
    study: SteerConfig,
    conventions: Conventions,
    settings: Settings,
    progress: Progress,
) -> Searched:
    """Drop what costs too much perplexity, try what is left, and take the best of each family.

    Raises:
        ConfigError: the task has no such quantity.
        DataError, EndpointError: a task cannot be done.
    """

    def run(some: Sequence[Version], one: Task) -> list[Outcome]:
        return run_in_parts(model, some, one, conventions=conventions, settings=settings, progress=progress)

    every = [PLAIN, *versions]
    costs = run(every, perplexity)
    allowed = _allowed([_perplexity(outcome, costs[0]) for outcome in costs], study.perplexity)
    kept = [version for version, fine in zip(every, allowed, strict=True) if fine]
    is_the_same = contrast.task == study.perplexity.task
    outcomes = [cost for cost, fine in zip(costs, allowed, strict=True) if fine] if is_the_same else run(kept, task)
    graded = [quantity_of(outcome, contrast) for outcome in outcomes]
    chosen = _best(kept[1:], graded[1:])
    numbers = partial(rows_of, model, conventions=conventions, with_plain=False)
    rows = numbers(every, costs, f"{study.perplexity.task.title}/development")
    if not is_the_same:
        rows += numbers(kept, outcomes, f"{contrast.task.title}/development")
    return Searched(rows=rows, chosen=chosen, better=graded[0].better)


def quantity_of(outcome: Outcome, contrast: ContrastConfig) -> Graded:
    """The number that a contrast is to improve.

    Raises:
        ConfigError: the task does not give it.
    """
    known = [(graded.quantity, graded.method) for graded in outcome.graded]
    for graded in outcome.graded:
        if graded.quantity == contrast.quantity and contrast.method in (None, graded.method):
            return graded
    raise ConfigError(
        f"{contrast.name}: {outcome.dataset} gives no {contrast.quantity!r} by {contrast.method or 'anyone'}; "
        f"it gives {', '.join(f'{quantity} by {method}' for quantity, method in known)}"
    )


def run_in_parts(
    model: LanguageModel,
    versions: Sequence[Version],
    task: Task,
    *,
    conventions: Conventions,
    settings: Settings,
    progress: Progress,
) -> list[Outcome]:
    """The outcome of each version, so many at once as fit a batch.

    The first of `versions`, the plain one, is the first of every part: some tasks say how far the others are from it.
    """
    plain, *others = versions
    run = partial(run_versions, model, task=task, conventions=conventions, settings=settings, progress=progress)
    found = list(run([plain, *others[: AT_ONCE - 1]]))
    for start in range(AT_ONCE - 1, len(others), AT_ONCE - 1):
        found += run([plain, *others[start : start + AT_ONCE - 1]])[1:]
    return found


def _perplexity(outcome: Outcome, plain: Outcome) -> float:
    """NaN where an item has none that the plain model has: of the others alone it would be that of an easier text."""
    for graded, before in zip(outcome.graded, plain.graded, strict=True):
        if graded.quantity == "perplexity":
            return math.nan if undefined_beside(graded, before) else value_of(graded)
    raise ConfigError(f"{outcome.dataset} gives no perplexity; name a task that does, such as lambada")


def _allowed(perplexities: Sequence[float], config: PerplexityConfig) -> list[bool]:
    """Whether each version costs little enough; the first, unsteered one always does, and what has no finite cost never."""
    bounds = [config.bound, config.ratio and config.ratio * perplexities[0]]
    least = min((bound for bound in bounds if bound is not None), default=math.inf)
    if not math.isfinite(perplexities[0]):
        raise MeasurementError("the unsteered model has no perplexity, so that nothing can be bounded by it")
    return [place == 0 or (math.isfinite(value) and value <= least) for place, value in enumerate(perplexities)]


def _best(versions: Sequence[Version], graded: Sequence[Graded]) -> tuple[Version, ...]:
    """The best of each family; of equally good ones the weakest."""
    families: dict[str, list[tuple[tuple[float, float], Version]]] = {}
    for version, one in zip(versions, graded, strict=True):
        value = value_of(one)
        if not math.isnan(value):
            better = value if one.better == "lower" else -value
            families.setdefault(version.vector, []).append(((better, abs(version.alpha)), version))
    return tuple(min(family, key=lambda entry: entry[0])[1] for family in families.values())


def _family(vector: SteeringVector) -> str:
    """A vector's name without its site: the sites of one family compete."""
    return f"{vector.kind}:{vector.dataset}@{vector.checkpoint.key}"

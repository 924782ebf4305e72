"""A steering run as the report reads it: targets, aims, abilities, settings, and the row that stands for each."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Measurement
from trustrace.report import glossary
from trustrace.report.glossary import Better
from trustrace.report.run_folder import COLUMNS, RunFolder
from trustrace.report.steering_folder import SteeringFolder
from trustrace.report.steering_glossary import better_of, quantity_title, task_title

DEVELOPMENT, TEST = "development", "test"
SEPARATION = "separation"
COSINE = "cosine_with_real"
ON_FRONT = "on_front"
PERPLEXITY = "perplexity"
INSTRUCTION = "instruction"
CHANGE, P_VALUE = "_change", "_change_p"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a model is steered with, where, and how strongly; empty for nothing."""

    vector: str = ""
    site: str = ""
    alpha: float = 0.0


PLAIN = Setting()
"""The unsteered model."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a vector's name says.

    Attributes:
        vector: The name.
        kind: How the direction was found; ``random_0`` for a random one, ``instruction`` for a model that is told what is wanted.
        contrast: What it was made for.
        source: The checkpoint it comes from; empty where it comes from none.
        is_control: Whether it should do nothing.
    """

    vector: str
    kind: str
    contrast: str
    source: str
    is_control: bool

    @property
    def is_instruction(self) -> bool:
        """Whether the model is told, not steered."""
        return self.kind == INSTRUCTION

    @property
    def is_random(self) -> bool:
        """Whether the direction was drawn at random."""
        return self.kind.startswith("random_")


@dataclass(frozen=True, kw_only=True)
class Ability:
    """One number that a task gives.

    Attributes:
        task: The task, without its half.
        quantity: Which of its numbers.
        method: By whom.
        better: Which way a model is better.
    """

    task: str
    quantity: str
    method: str
    better: Better

    @property
    def title(self) -> str:
        """``StereoSet: accuracy``."""
        return f"{task_title(self.task)}: {quantity_title(self.quantity).lower()}"

    def is_as_good(self, value: float, other: float) -> bool:
        """Whether `value` is at least as good as `other`."""
        return value <= other if self.better == "lower" else value >= other

    def goodness(self, value: float) -> float:
        """Higher for better."""
        return -value if self.better == "lower" else value


@dataclass(frozen=True, kw_only=True)
class Aim:
    """A contrast and what its vectors are to improve."""

    contrast: str
    ability: Ability
    instruction: str = ""

    @property
    def title(self) -> str:
        """The contrast as a reader should see it."""
        return glossary.dataset_title(self.contrast)


@dataclass(frozen=True, kw_only=True)
class SteeringRun:
    """Everything the table of a steering run holds, addressable.

    Attributes:
        targets: The models that are steered, by checkpoint.
        aims: The contrasts, in the study's order.
        abilities: What is shown of every task: the aims', perplexity, then general abilities.
        perplexity: The one of them that choice is bounded by; None where there is none.
        sources: Where vectors come from, in the order of training.
        families: Every vector by name.
        rows: The table.
        n_doubled: Rows that name a place that another row holds; the first is shown.
    """

    targets: tuple[str, ...]
    aims: tuple[Aim, ...]
    abilities: tuple[Ability, ...]
    perplexity: Ability | None
    sources: tuple[Checkpoint, ...]
    families: Mapping[str, Family]
    rows: tuple[Measurement, ...]
    n_doubled: int

    @cached_property
    def _placed(self) -> Mapping[tuple[Any, ...], Measurement]:
        placed: dict[tuple[Any, ...], Measurement] = {}
        for row in self.rows:
            placed.setdefault(_place(row), row)
        return placed

    @cached_property
    def _settings(self) -> Mapping[tuple[str, str], tuple[Setting, ...]]:
        found: dict[tuple[str, str], dict[Setting, None]] = {}
        for row in self.rows:
            if _is_of_a_task(row) and not row.quantity.endswith((CHANGE, P_VALUE)):
                at = found.setdefault((row.checkpoint, row.dataset), {})
                at[Setting(vector=row.vector, site=row.site, alpha=row.alpha)] = None
        return {place: tuple(settings) for place, settings in found.items()}

    def at(
        self, target: str, ability: Ability, setting: Setting, *, half: str = TEST, what: str = ""
    ) -> Measurement | None:
        """The row of one number; `what` is :data:`CHANGE` or :data:`P_VALUE` for what is said of it against the unsteered model."""
        dataset, quantity = f"{ability.task}/{half}", f"{ability.quantity}{what}"
        return self.row(target, dataset, quantity, ability.method, setting)

    def row(self, checkpoint: str, dataset: str, quantity: str, method: str, setting: Setting) -> Measurement | None:
        """The row at an address; None where the table has none."""
        return self._placed.get((checkpoint, dataset, quantity, method, setting.vector, setting.site, setting.alpha))

    def cosine(self, family: Family, site: str) -> float:
        """How far a control lies along the real vector of its checkpoint at `site`; NaN where the table does not say."""
        at = Setting(vector=f"{family.vector}:{site}", site=site)
        kind = family.vector.partition(":")[0]
        row = self.row(family.source, family.contrast, COSINE, kind, at)
        return math.nan if row is None else row.value

    def settings(self, target: str, ability: Ability, *, half: str = TEST) -> tuple[Setting, ...]:
        """Every setting that was measured on a task, the unsteered model among them, in the order of the table."""
        return self._settings.get((target, f"{ability.task}/{half}"), ())

    def made_for(self, aim: Aim, settings: Sequence[Setting]) -> Iterator[tuple[Family, Setting]]:
        """Those of `settings` whose vectors were made for `aim`: by source, controls after them, the instruction last."""
        order = {source.key: place for place, source in enumerate(self.sources)}
        own = [(self.families[one.vector], one) for one in settings if one.vector in self.families]
        own = [(family, one) for family, one in own if family.contrast == aim.contrast]
        yield from sorted(
            own, key=lambda at: (at[0].is_instruction, at[0].is_control, order.get(at[0].source, len(order)))
        )

    def source(self, key: str) -> Checkpoint | None:
        """The source checkpoint called `key`."""
        return next((one for one in self.sources if one.key == key), None)


def steering_run(run: RunFolder, folder: SteeringFolder) -> SteeringRun:
    """Arrange the table of `run`."""
    rows = tuple(_measurements(run.table))
    contrasts = _contrasts(run)
    names = [name for name, _ in contrasts]
    families = {row.vector: family for row in rows if (family := _family(row, names))}
    steered = {row.checkpoint for row in rows if row.quantity not in (SEPARATION, COSINE)}
    aims = tuple(aim for name, config in contrasts if (aim := _aim(name, config, rows, families, folder)))
    perplexity = _perplexity(run.study, rows)
    return SteeringRun(
        targets=_in_order(dict(run.manifest.get("targets") or {}), steered),
        aims=aims,
        abilities=_abilities(aims, perplexity, rows),
        perplexity=perplexity,
        sources=_sources(run, rows, families),
        families=families,
        rows=rows,
        n_doubled=len(rows) - len({_place(row) for row in rows}),
    )


def _measurements(table: pa.Table) -> Iterator[Measurement]:
    for row in table.select(list(COLUMNS)).to_pylist():
        yield Measurement(
            **{**row, "note": row["note"] or "", "vector": row["vector"] or "", "site": row["site"] or ""}
        )


def _place(row: Measurement) -> tuple[Any, ...]:
    return (row.checkpoint, row.dataset, row.quantity, row.method, row.vector, row.site, row.alpha)


def _in_order(first: Mapping[str, Any], present: set[str]) -> tuple[str, ...]:
    return (*(name for name in first if name in present), *sorted(present - set(first)))


def _contrasts(run: RunFolder) -> list[tuple[str, Mapping[str, Any]]]:
    """The study's contrasts by the names of their vectors."""
    configs = [config for config in run.study.get("contrasts") or () if isinstance(config, Mapping)]
    return [
        (str(config.get("name") or (config.get("dataset") or {}).get("name") or "pairs"), config) for config in configs
    ]


def _family(row: Measurement, contrasts: Sequence[str]) -> Family | None:
    """What the name of a row's vector says; None where it has none, or names a place within a family."""
    kind, _, rest = row.vector.partition(":")
    if not rest or row.quantity in (ON_FRONT, COSINE) or row.quantity.startswith(SEPARATION):
        return None
    named = [name for name in contrasts if rest == name or rest.startswith(f"{name}@")]
    contrast = max(named, key=len) if named else rest.partition("@")[0]
    source = rest[len(contrast) + 1 :]
    return Family(vector=row.vector, kind=kind, contrast=contrast, source=source, is_control=row.role == "control")


def _aim(
    name: str,
    config: Mapping[str, Any],
    rows: Sequence[Measurement],
    families: Mapping[str, Family],
    folder: SteeringFolder,
) -> Aim | None:
    """What `name` is to improve; None where nothing of it was measured."""
    quantity, method, wanted = config.get("quantity"), config.get("method"), _name_of(config.get("task"))
    own = {vector for vector, family in families.items() if family.contrast == name}
    found = [row for row in rows if row.quantity == quantity and method in (None, row.method)]
    by_task = {
        row.dataset.rpartition("/")[0]: row for row in reversed(found) if row.vector in own and _is_of_a_task(row)
    }
    searched = [
        row.dataset.rpartition("/")[0] for row in found if row.vector in own and row.dataset.endswith(f"/{DEVELOPMENT}")
    ]
    task = wanted if wanted in by_task else next(iter((*searched, *by_task)), None)
    if task is None:
        return None
    row = by_task[task]
    better = folder.better(name) or better_of(row.quantity)
    ability = Ability(task=task, quantity=row.quantity, method=row.method, better=better)
    return Aim(contrast=name, ability=ability, instruction=str(config.get("instruction") or ""))


def _is_of_a_task(row: Measurement) -> bool:
    """Whether a model was asked something, rather than a direction or the whole run looked at."""
    is_asked = row.quantity not in (ON_FRONT, COSINE) and not row.quantity.startswith(SEPARATION)
    return is_asked and row.dataset.endswith((f"/{DEVELOPMENT}", f"/{TEST}"))


def _name_of(task: Any) -> str:
    """What a task's rows are called: its name, or that of the text it is on."""
    if not isinstance(task, Mapping):
        return str(task or "")
    path = str(task.get("path") or "").replace("\\", "/").rstrip("/")
    return f"text:{path.rpartition('/')[2]}" if path else str(task.get("name") or "")


def _perplexity(study: Mapping[str, Any], rows: Sequence[Measurement]) -> Ability | None:
    wanted = _name_of((study.get("perplexity") or {}).get("task"))
    found = [row for row in rows if row.quantity == PERPLEXITY and _is_of_a_task(row)]
    named = [row for row in found if row.dataset.rpartition("/")[0] == wanted] or found
    if not named:
        return None
    return Ability(
        task=named[0].dataset.rpartition("/")[0], quantity=PERPLEXITY, method=named[0].method, better="lower"
    )


def _abilities(aims: Sequence[Aim], perplexity: Ability | None, rows: Sequence[Measurement]) -> tuple[Ability, ...]:
    """One number of every task of the test half: what the aims name, perplexity, and of the others accuracy or their first."""
    known = [*(aim.ability for aim in aims), *([perplexity] if perplexity else [])]
    others: dict[str, list[Measurement]] = {}
    for row in rows:
        task, _, half = row.dataset.rpartition("/")
        if half == TEST and _is_of_a_task(row):
            others.setdefault(task, []).append(row)
    for task, own in others.items():
        if task not in {ability.task for ability in known}:
            row = next((row for row in own if row.quantity == "accuracy"), own[0])
            known.append(Ability(task=task, quantity=row.quantity, method=row.method, better=better_of(row.quantity)))
    return tuple(dict.fromkeys(known))


def _sources(run: RunFolder, rows: Sequence[Measurement], families: Mapping[str, Family]) -> tuple[Checkpoint, ...]:
    """The checkpoints that vectors come from, in the order of training."""
    listed = {str(key): tuple(said) for key, said in dict(run.manifest.get("sources") or {}).items()}
    counts = {row.checkpoint: (None, row.step, row.tokens_seen) for row in rows if row.quantity == SEPARATION}
    keys = dict.fromkeys([*listed, *counts, *(family.source for family in families.values() if family.source)])
    found = []
    for key in keys:
        _, step, tokens = (*listed.get(key, counts.get(key, ())), None, None, None)[:3]
        model, _, revision = key.rpartition("@")
        found.append(Checkpoint(family="", model=model, revision=revision, step=step, tokens_seen=tokens))
    return tuple(sorted(found))

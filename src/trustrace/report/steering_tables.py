"""The tables of a steering run: methods against abilities, what each vector does to each ability, and sources against targets."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trustrace.core.measurements import Measurement
from trustrace.report.axis import label
from trustrace.report.steering_findings import Choice, ControlGroup, Effect, Finding, effect
from trustrace.report.steering_glossary import better_of, quantity_title, task_title
from trustrace.report.steering_runs import PLAIN, Ability, Setting, SteeringRun
from trustrace.report.steering_sentences import family_text, interval, setting_text, shown, signed
from trustrace.report.tables import ABSENT

ARROWS = {1: "\u25b2", -1: "\u25bc", 0: ""}
"""Better, worse, and not told from no change."""

WAYS = {1: "better", -1: "worse", 0: ""}


@dataclass(frozen=True, kw_only=True)
class SteeringCell:
    """What a cell says, what stands beside it in a quieter voice, and whether it is better (1) or worse (-1) than unsteered."""

    text: str
    beside: str = ""
    way: int = 0

    @property
    def arrow(self) -> str:
        """The way as a sign."""
        return ARROWS[self.way]

    @property
    def word(self) -> str:
        """The way as a word."""
        return WAYS[self.way]


@dataclass(frozen=True, kw_only=True)
class SteeringRow:
    """A row: what it is about, what stands beside that, its cells, and whether it is the one to look at."""

    name: str
    beside: str = ""
    cells: tuple[SteeringCell, ...]
    is_best: bool = False


@dataclass(frozen=True, kw_only=True)
class SteeringTable:
    """A table as text; the first header names its rows."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[SteeringRow, ...]


def methods_table(run: SteeringRun, finding: Finding) -> SteeringTable:
    """The paper's tables 1 and 2: unsteered, told, the range of each kind of control, and steered by each checkpoint's vector."""
    rows = [_method_row(run, finding, "unsteered", PLAIN)]
    rows += [
        _method_row(run, finding, "instruction", setting)
        for family, setting in run.made_for(finding.aim, run.settings(finding.target, finding.aim.ability))
        if family.is_instruction
    ]
    rows += [_controls_row(run, finding, group) for group in finding.control_groups]
    rows += [
        _method_row(run, finding, family_text(run, choice.family), choice.setting, is_best=choice == finding.best)
        for choice in finding.vectors
    ]
    return SteeringTable(
        caption=f"{finding.aim.title}, test half: the number of each ability with its 95 % interval. {ARROWS[1]} is better and "
        f"{ARROWS[-1]} worse than unsteered, by the interval of the paired change. Site and strength were chosen on the development half; "
        "the row set off is the vector that is best there.",
        headers=("Method", *(_headed(ability) for ability in run.abilities)),
        rows=tuple(rows),
    )


def _headed(ability: Ability) -> str:
    ways = {"lower": " (lower is better)", "neither": "", "higher": ""}
    return f"{ability.title}{ways[ability.better]}"


def _method_row(
    run: SteeringRun, finding: Finding, name: str, setting: Setting, *, is_best: bool = False
) -> SteeringRow:
    effects = [effect(run, finding.target, ability, setting) for ability in run.abilities]
    return SteeringRow(
        name=name,
        beside=setting_text(setting) if setting.site else "",
        cells=tuple(_valued_cell(one) for one in effects),
        is_best=is_best,
    )


def _valued_cell(one: Effect) -> SteeringCell:
    if one.steered is None:
        return SteeringCell(text=ABSENT)
    return SteeringCell(text=shown(one.steered.value), beside=interval(one.steered), way=one.way)


def _controls_row(run: SteeringRun, finding: Finding, group: ControlGroup) -> SteeringRow:
    cells = []
    for ability in run.abilities:
        rows = [run.at(finding.target, ability, control.setting) for control in group.chosen]
        cells.append(SteeringCell(text=_range([row for row in rows if row is not None])))
    lost = group.n_tried - len(group.chosen)
    beside = f"lowest to highest of {len(group.chosen)}" + (f"; {lost} without an allowed setting" if lost else "")
    return SteeringRow(name=group.plural, beside=beside, cells=tuple(cells))


def _range(rows: Sequence[Measurement]) -> str:
    known = sorted(row.value for row in rows if math.isfinite(row.value))
    if not known:
        return ABSENT
    return " to ".join(dict.fromkeys((shown(known[0]), shown(known[-1]))))


def trade_offs(run: SteeringRun, found: Sequence[Finding]) -> SteeringTable:
    """What the best vector of each contrast does to every ability of one target."""
    return SteeringTable(
        caption=f"{found[0].target}: change of each ability on the test half under the best vector of each contrast, with its 95 % "
        f"interval and p-value. {ARROWS[1]} better, {ARROWS[-1]} worse; no sign where the interval holds 0.",
        headers=("Vector made for", *(_headed(ability) for ability in run.abilities)),
        rows=tuple(_trade_row(run, finding, finding.best) for finding in found if finding.best),
    )


def _trade_row(run: SteeringRun, finding: Finding, best: Choice) -> SteeringRow:
    return SteeringRow(
        name=finding.aim.title,
        beside=f"{family_text(run, best.family)}, {setting_text(best.setting)}",
        cells=tuple(_change_cell(effect(run, finding.target, ability, best.setting)) for ability in run.abilities),
    )


def _change_cell(one: Effect) -> SteeringCell:
    if one.change is None:
        return SteeringCell(text=ABSENT)
    text, _, between = signed(one.change).partition(" ")
    p = f"p = {one.p.value:.2g}" if one.p and math.isfinite(one.p.value) else ""
    return SteeringCell(text=text, beside=" ".join(filter(None, (between, p))), way=one.way)


def sources_table(run: SteeringRun, found: Sequence[Finding]) -> SteeringTable:
    """How much the vector of each source checkpoint changes what it aims at, by contrast and target."""
    kinds = dict.fromkeys(choice.family.kind for finding in found for choice in finding.vectors)
    rows = [
        SteeringRow(
            name=label(source),
            beside=kind.replace("_", " ") if len(kinds) > 1 else "",
            cells=tuple(_source_cell(finding, kind, source.key) for finding in found),
        )
        for kind in kinds
        for source in run.sources
    ]
    return SteeringTable(
        caption="Change, on the test half, of what each contrast is to improve: by the checkpoint that the vector comes from, and by "
        f"contrast and steered model; with its 95 % interval and p-value. {ARROWS[1]} better, {ARROWS[-1]} worse.",
        headers=("Vector from", *(f"{finding.aim.title} \u2192 {finding.target}" for finding in found)),
        rows=tuple(rows),
    )


def _source_cell(finding: Finding, kind: str, source: str) -> SteeringCell:
    for choice in finding.vectors:
        if (choice.family.kind, choice.family.source) == (kind, source):
            return _change_cell(choice.effect)
    return SteeringCell(text=ABSENT)


def everything_table(run: SteeringRun, finding: Finding) -> SteeringTable:
    """Every number that the tasks of the test half give, for the unsteered model and the best vector."""
    best = finding.best.setting if finding.best else PLAIN
    rows = [_number_row(run, finding.target, ability, best) for ability in _every(run, finding.target)]
    return SteeringTable(
        caption=f"{finding.aim.title}: every number of the test half, unsteered and under the best vector, with what is noted of it.",
        headers=("Number", "Unsteered", "Best vector", "Change", "n", "Note"),
        rows=tuple(rows),
    )


def _every(run: SteeringRun, target: str) -> Iterator[Ability]:
    seen = set()
    for row in run.rows:
        task, _, half = row.dataset.rpartition("/")
        place = (task, row.quantity, row.method)
        if row.checkpoint == target and half == "test" and not row.vector and not row.site and place not in seen:
            seen.add(place)
            yield next(
                (one for one in run.abilities if (one.task, one.quantity, one.method) == place),
                Ability(task=task, quantity=row.quantity, method=row.method, better=better_of(row.quantity)),
            )


def _number_row(run: SteeringRun, target: str, ability: Ability, setting: Setting) -> SteeringRow:
    one = effect(run, target, ability, setting)
    row = one.steered or one.plain
    count = f"{row.n:,}" if row else ABSENT
    return SteeringRow(
        name=f"{task_title(ability.task)}: {quantity_title(ability.quantity).lower()}",
        beside=ability.method.replace("_", " "),
        cells=(
            _valued_cell(effect(run, target, ability, PLAIN)),
            _valued_cell(one),
            _change_cell(one),
            SteeringCell(text=count, beside=_of_groups(row, one.change)),
            SteeringCell(text=row.note if row else ""),
        ),
    )


def _of_groups(row: Measurement | None, change: Measurement | None) -> str:
    """The groups behind a number, and the items behind its change where these are fewer: it needs both numbers defined."""
    if row is None:
        return ""
    fewer = f"; change over {change.n:,}" if change and change.n != row.n else ""
    return f"{row.n_groups:,} groups{fewer}"

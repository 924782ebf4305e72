"""The findings of a steering run in words."""

import math
from collections.abc import Iterator

from trustrace.core.measurements import Measurement
from trustrace.report.axis import label
from trustrace.report.sentences import UNDEFINED, number
from trustrace.report.steering_findings import Choice, ControlGroup, Effect, Finding, Verdict
from trustrace.report.steering_glossary import quantity_title, task_title
from trustrace.report.steering_runs import DEVELOPMENT, PLAIN, Family, Setting, SteeringRun

_VERDICTS: dict[Verdict, str] = {
    "better": "Steering helps, and {none} does as well; vectors that mean nothing would hold the first place in up to {vectors} of {cases} "
    "cases.",
    "hardly better": "Steering helps; {none} does as well, but the nearest, {nearest}, lies within the vector's own interval.",
    "no better than random": "Steering helps, but no more than random directions do.",
    "no better than shuffled": "Steering helps, but no more than directions of shuffled labels do{because}.",
    "no better than chance": "No effect that is told from chance.",
    "worse": "Steering makes it worse.",
    "uncontrolled": "Steering helps, but {untried}: nothing shows that it is the direction that helps.",
    "unclear": "Nothing can be said.",
}


def shown(value: float | None) -> str:
    """A number at reading precision: three decimals, fewer where it is large, more where it is small."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    value = value or 0.0  # No minus before nothing.
    size = abs(value)
    if size and (size < 0.001 or size >= 1e6):
        return f"{value:.1e}".replace("-", "\u2212")
    return number(value, 1 if size >= 100 else 2 if size >= 10 else 3)


def interval(row: Measurement | None) -> str:
    """``[0.41, 0.52]``; empty where there is none."""
    if row is None or not (math.isfinite(row.lower) and math.isfinite(row.upper)):
        return ""
    return f"[{shown(row.lower)}, {shown(row.upper)}]"


def valued(row: Measurement | None) -> str:
    """The value with its interval."""
    return " ".join(filter(None, (shown(row.value), interval(row)))) if row else "not measured"


def signed(row: Measurement | None) -> str:
    """A change with its sign and interval."""
    if row is None:
        return "not measured"
    plus = "+" if math.isfinite(row.value) and row.value > 0 else ""
    return f"{plus}{valued(row)}"


def strength(alpha: float) -> str:
    """A strength as it was asked for."""
    return f"{alpha:g}".replace("-", "\u2212")


def verdict(finding: Finding) -> str:
    """What may be said of the best vector, in one sentence."""
    if finding.best is None and finding.n_tried and not finding.n_allowed:
        return "Nothing was chosen: no setting stayed within the bound on perplexity."
    return _VERDICTS[finding.verdict].format(
        none=_none_of(finding),
        nearest=shown(finding.nearest.effect.steered.value)
        if finding.nearest and finding.nearest.effect.steered
        else "",
        vectors=len(finding.vectors),
        cases=len(finding.vectors) + sum(group.n_drawn for group in finding.control_groups),
        because=_because(finding),
        untried=_untried(finding),
    )


def control_noun(finding: Finding) -> str:
    """What one of all controls of a finding is called, where they are shown together."""
    return "random direction" if all(family.is_random for family in finding.searched) else "control"


def _none_of(finding: Finding) -> str:
    """``none of 5 random directions and 3 directions of shuffled labels``."""
    if not finding.controls:
        return ""
    if len(finding.controls) == 1:
        (group,) = (group for group in finding.control_groups if group.chosen)
        return f"not even the one {group.noun} that was tried"
    return (
        f"none of {' and '.join(group.counted(len(group.chosen)) for group in finding.control_groups if group.chosen)}"
    )


def _because(finding: Finding) -> str:
    """What it means that directions of shuffled labels do as well: little, where they lie along the real vector."""
    along = [group.along for group in finding.control_groups if group.is_the_axis]
    if not along:
        return ": it is not the label that helps"
    return f", which lie along the vectors themselves (|cosine| {along[0]:.2f}): what the label adds to that axis cannot be told"


def _untried(finding: Finding) -> str:
    if not finding.searched:
        return "no random direction was tried"
    tried = " and ".join(group.counted(group.n_tried) for group in finding.control_groups)
    return f"of {tried} none had a setting within the bound"


def claim(finding: Finding) -> str:
    """From what to what the best vector moves the number that it is to improve."""
    ability = finding.aim.ability
    what = f"{quantity_title(ability.quantity)} on {task_title(ability.task)}"
    if finding.best is None:
        return f"{what}, unsteered: {valued(finding.plain)}. No vector has numbers on both halves yet."
    return f"{what} goes from {valued(finding.plain)} to {valued(finding.best.effect.steered)}: {told(finding.best.effect)}."


def told(effect: Effect) -> str:
    """A change with its interval, p-value and size: ``change +0.063 [0.010, 0.110], p = 0.013, n = 60 in 20 groups``."""
    if effect.change is None:
        return "the change was not measured"
    n = f"n = {effect.change.n:,} in {effect.change.n_groups:,} groups"
    return f"change {signed(effect.change)}{_p(effect)}, {n}"


def details(run: SteeringRun, finding: Finding) -> Iterator[str]:
    """What was chosen, what it costs, what random directions and the instruction do."""
    if finding.best is not None:
        yield _chosen(run, finding, finding.best)
        yield from _prices(finding)
    yield from _controls(finding)
    yield from _told_instead(finding)


def family_text(run: SteeringRun, family: Family) -> str:
    """Whose a vector is: ``mass mean of 1.0 M tokens``."""
    if family.is_instruction:
        return "instruction"
    kind = family.kind.replace("random_", "random direction ").replace("_", " ")
    checkpoint = run.source(family.source)
    return f"{kind} of {label(checkpoint)}" if checkpoint else kind


def setting_text(setting: Setting) -> str:
    """Where, and how strongly: ``block_1, alpha 0.5``."""
    return ", ".join(filter(None, (setting.site, f"alpha {strength(setting.alpha)}")))


def _p(effect: Effect) -> str:
    return f", p = {effect.p.value:.2g}" if effect.p and math.isfinite(effect.p.value) else ""


def _chosen(run: SteeringRun, finding: Finding, best: Choice) -> str:
    among = f", the best of {len(finding.vectors)} vectors there" if len(finding.vectors) > 1 else ""
    plain = run.at(finding.target, finding.aim.ability, PLAIN, half=DEVELOPMENT)
    against = f" (unsteered {_bare(plain)})" if plain else ""
    backwards = (
        " Its strength is negative: it points away from the side that the direction was made to point to."
        if best.setting.alpha < 0
        else ""
    )
    bound = (
        f" {finding.n_allowed:,} of {finding.n_tried:,} settings stayed within the bound on perplexity."
        if finding.n_tried
        else ""
    )
    return (
        f"Chosen on the development half: {family_text(run, best.family)} at {setting_text(best.setting)}, "
        f"{_bare(best.developed)} there{against}{among}.{backwards}{bound}"
    )


def _prices(finding: Finding) -> Iterator[str]:
    """What else changes: first what suffers, then what gains, then how much stays as it was."""
    measured = [effect for effect in finding.prices if effect.change is not None]
    for way, word in ((-1, "suffers"), (1, "gains as well")):
        for effect in measured:
            if effect.way == way:
                yield f"{_moved(effect)}: it {word}."
    for effect in measured:
        if not effect.way:
            yield f"{_moved(effect)}."


def _moved(effect: Effect) -> str:
    return (
        f"{effect.ability.title} {_bare(effect.plain)} to {_bare(effect.steered)} ({signed(effect.change)}{_p(effect)})"
    )


def _bare(row: Measurement | None) -> str:
    return shown(row.value) if row else "not measured"


def _controls(finding: Finding) -> Iterator[str]:
    """What each kind of control reaches; the kinds are told apart, since they answer different questions."""
    if not finding.searched:
        yield "No control was tried."
        return
    for group in finding.control_groups:
        yield from _group(finding, group)
    if all(group.is_random for group in finding.control_groups):
        yield (
            "No direction of shuffled labels was tried: that vectors beat random directions shows that the place of the classes matters, "
            "not that the label does."
        )
    if finding.controls and len(finding.vectors) > 1:
        yield f"Of {len(finding.vectors)} vectors, {_counted(len(finding.beyond))} beyond every {control_noun(finding)}."


def _group(finding: Finding, group: ControlGroup) -> Iterator[str]:
    values = [one.effect.steered.value for one in group.chosen if one.effect.steered]
    known = sorted(value for value in values if math.isfinite(value))
    lost = group.n_tried - len(known)
    if lost:
        yield f"{group.counted(lost).capitalize()} had no setting within the bound, and no number here."
    if not known:
        return
    reach = " to ".join(dict.fromkeys((shown(known[0]), shown(known[-1]))))
    good = f"; {_how_many(len(group.as_good), len(known))} at least as good" if finding.best else ""
    yield f"{group.counted(len(known)).capitalize()} went through the same choice of site and strength: {reach}{good}."
    if math.isfinite(group.along):
        axis = "; they are largely these vectors" if group.is_the_axis else ""
        yield f"Their cosines with the vectors of the same checkpoints have a median size of {group.along:.2f}{axis}."


def _how_many(count: int, of: int) -> str:
    return f"{count or 'none'} of {of} {'is' if count == 1 else 'are'}"


def _counted(count: int) -> str:
    return "none lies" if not count else "1 lies" if count == 1 else f"{count} lie"


def _told_instead(finding: Finding) -> Iterator[str]:
    effect = finding.instruction
    if effect is None:
        yield "No instruction was tried in the place of steering."
        return
    said = f"Told \u201c{finding.aim.instruction.strip()}\u201d instead of steered: {valued(effect.steered)}, {told(effect)}"
    best = finding.best.effect.steered if finding.best else None
    if best is None or effect.steered is None or not math.isfinite(best.value + effect.steered.value):
        yield f"{said}."
        return
    reaches = effect.ability.is_as_good(effect.steered.value, best.value)
    yield f"{said}; {'as good as steering or better' if reaches else 'less than steering gives'}."

"""What a steering run found for one target and one aim: chosen on the development half, told from the test half, beside controls."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from trustrace.core.measurements import Measurement
from trustrace.report.steering_runs import (
    CHANGE,
    DEVELOPMENT,
    P_VALUE,
    PLAIN,
    TEST,
    Ability,
    Aim,
    Family,
    Setting,
    SteeringRun,
)

Verdict = Literal[
    "better",
    "hardly better",
    "no better than chance",
    "no better than random",
    "no better than shuffled",
    "worse",
    "uncontrolled",
    "unclear",
]


ALONG = 0.5
"""Controls whose cosine with the real vector is of this size or larger are largely the real vector."""

_CONTROLS = (
    (True, "random direction", "random directions"),
    (False, "direction of shuffled labels", "directions of shuffled labels"),
)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one setting does to one ability on the test half.

    Attributes:
        ability: The ability.
        plain: The unsteered model; None where it was not measured.
        steered: The setting's own number.
        change: How they differ.
        p: The p-value of that.
    """

    ability: Ability
    plain: Measurement | None
    steered: Measurement | None
    change: Measurement | None
    p: Measurement | None

    @property
    def way(self) -> int:
        """1 where the interval of the change lies on the better side of 0, -1 on the worse side, 0 where it holds 0 or is missing."""
        if self.change is None or self.ability.better == "neither":
            return 0
        ends = (self.ability.goodness(self.change.lower), self.ability.goodness(self.change.upper))
        return 1 if min(ends) > 0 else -1 if max(ends) < 0 else 0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A setting that a search chose: whose it is, what it is, and its numbers for the aim on both halves."""

    family: Family
    setting: Setting
    developed: Measurement | None
    effect: Effect


@dataclass(frozen=True, kw_only=True)
class ControlGroup:
    """Directions of one kind that should do nothing.

    Attributes:
        noun: What one of them is called.
        plural: What several are.
        is_random: Whether they are drawn at random; the others are found from permuted labels.
        n_tried: How many were searched.
        chosen: Those for which the search found an allowed setting.
        as_good: Those of them that reach what the best vector reaches on the test half.
        along: The median size of their cosines with the real vectors; NaN where it is not known.
    """

    noun: str
    plural: str
    is_random: bool
    n_tried: int
    chosen: tuple[Choice, ...]
    as_good: tuple[Choice, ...]
    along: float

    @property
    def n_drawn(self) -> int:
        """How many of the chosen are independent draws: all checkpoints have the same permutation of labels."""
        return len(self.chosen) if self.is_random else min(1, len(self.chosen))

    @property
    def is_the_axis(self) -> bool:
        """Whether they lie so far along the real vectors that they cannot tell what the label adds."""
        return self.along >= ALONG

    def counted(self, count: int) -> str:
        """``1 random direction``, ``5 random directions``."""
        return f"{count:,} {self.noun if count == 1 else self.plural}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One target and one aim.

    Attributes:
        target: The model that is steered.
        aim: What is to improve.
        plain: The unsteered model on the aim's test half.
        vectors: What was chosen for every vector of a source checkpoint.
        controls: The same for directions that should do nothing.
        searched: Every direction that should do nothing, chosen or not.
        cosines: How far each control lies along the real vector of its checkpoint at the chosen site, by vector, where that is known.
        best: The vector that is best on the development half; None where none was chosen.
        prices: What it does to all other abilities.
        instruction: What telling the model does to the aim's ability; None where it was not told.
        n_tried: Settings of vectors whose perplexity was asked on the development half.
        n_allowed: Those of them that stayed within the bound and were tried on the aim's task.
    """

    target: str
    aim: Aim
    plain: Measurement | None
    vectors: tuple[Choice, ...]
    controls: tuple[Choice, ...]
    searched: tuple[Family, ...]
    cosines: Mapping[str, float]
    best: Choice | None
    prices: tuple[Effect, ...]
    instruction: Effect | None
    n_tried: int
    n_allowed: int

    @property
    def as_good(self) -> tuple[Choice, ...]:
        """The controls that reach what the best vector reaches on the test half."""
        return tuple(control for control in self.controls if self.best and self._reaches(control, self.best))

    @property
    def beyond(self) -> tuple[Choice, ...]:
        """The vectors that no control reaches on the test half."""
        return tuple(
            vector for vector in self.vectors if not any(self._reaches(control, vector) for control in self.controls)
        )

    @property
    def control_groups(self) -> tuple[ControlGroup, ...]:
        """The controls by what they are: random directions, then directions of shuffled labels; without kinds that were not tried."""
        groups = (self._group(noun, plural, is_random=is_random) for is_random, noun, plural in _CONTROLS)
        return tuple(group for group in groups if group.n_tried)

    @property
    def verdict(self) -> Verdict:
        """What may be said of the best vector."""
        if self.best is None or self.best.effect.change is None or self.aim.ability.better == "neither":
            return "unclear"
        way = self.best.effect.way
        if way <= 0:
            return "worse" if way else "no better than chance"
        if not self.controls:
            return "uncontrolled"
        reached = [group.is_random for group in self.control_groups if group.as_good]
        if reached:
            return "no better than random" if any(reached) else "no better than shuffled"
        return "hardly better" if self.is_near else "better"

    @property
    def nearest(self) -> Choice | None:
        """The control that reaches most on the test half."""
        known = [one for one in self.controls if math.isfinite(_value(one.effect.steered))]
        return max(known, key=lambda one: self.aim.ability.goodness(_value(one.effect.steered)), default=None)

    @property
    def is_near(self) -> bool:
        """Whether the best control lies within the interval of the best vector's number."""
        if self.best is None or self.best.effect.steered is None or self.nearest is None:
            return False
        steered = self.best.effect.steered
        return steered.lower <= _value(self.nearest.effect.steered) <= steered.upper

    def _group(self, noun: str, plural: str, *, is_random: bool) -> ControlGroup:
        chosen = tuple(one for one in self.controls if one.family.is_random == is_random)
        return ControlGroup(
            noun=noun,
            plural=plural,
            is_random=is_random,
            n_tried=sum(family.is_random == is_random for family in self.searched),
            chosen=chosen,
            as_good=tuple(one for one in chosen if self.best and self._reaches(one, self.best)),
            along=self._along(chosen),
        )

    def _along(self, chosen: tuple[Choice, ...]) -> float:
        known = [abs(self.cosines[one.family.vector]) for one in chosen if one.family.vector in self.cosines]
        return median(known) if known else math.nan

    def _reaches(self, one: Choice, other: Choice) -> bool:
        values = [_value(choice.effect.steered) for choice in (one, other)]
        return self.aim.ability.is_as_good(*values) if all(map(math.isfinite, values)) else False


def findings(run: SteeringRun) -> tuple[Finding, ...]:
    """One for each target and aim, in the study's order."""
    return tuple(_finding(run, target, aim) for target in run.targets for aim in run.aims)


def effect(run: SteeringRun, target: str, ability: Ability, setting: Setting) -> Effect:
    """What `setting` does to `ability`."""
    return Effect(
        ability=ability,
        plain=run.at(target, ability, PLAIN),
        steered=run.at(target, ability, setting),
        change=run.at(target, ability, setting, what=CHANGE),
        p=run.at(target, ability, setting, what=P_VALUE),
    )


def _finding(run: SteeringRun, target: str, aim: Aim) -> Finding:
    chosen = list(_choices(run, target, aim))
    vectors = tuple(one for one in chosen if not one.family.is_control and not one.family.is_instruction)
    told = [one.effect for one in chosen if one.family.is_instruction]
    best = _best(aim, vectors)
    return Finding(
        target=target,
        aim=aim,
        plain=run.at(target, aim.ability, PLAIN),
        vectors=vectors,
        controls=tuple(one for one in chosen if one.family.is_control),
        searched=tuple(_searched(run, target, aim)),
        cosines={
            one.family.vector: cosine
            for one in chosen
            if one.family.is_control and math.isfinite(cosine := run.cosine(one.family, one.setting.site))
        },
        best=best,
        prices=tuple(effect(run, target, ability, best.setting) for ability in run.abilities if ability != aim.ability)
        if best
        else (),
        instruction=told[0] if told else None,
        n_tried=_count(run, target, aim, run.perplexity),
        n_allowed=_count(run, target, aim, aim.ability),
    )


def _searched(run: SteeringRun, target: str, aim: Aim) -> Iterator[Family]:
    """Every control that some row of the target holds, be it only its perplexity."""
    asked = [aim.ability, *([run.perplexity] if run.perplexity else [])]
    settings = [
        one for ability in asked for half in (DEVELOPMENT, TEST) for one in run.settings(target, ability, half=half)
    ]
    yield from dict.fromkeys(family for family, _ in run.made_for(aim, settings) if family.is_control)


def _count(run: SteeringRun, target: str, aim: Aim, ability: Ability | None) -> int:
    """Settings of vectors on the development half of a task."""
    settings = run.settings(target, ability, half=DEVELOPMENT) if ability else ()
    return sum(not family.is_control for family, _ in run.made_for(aim, settings))


def _choices(run: SteeringRun, target: str, aim: Aim) -> Iterator[Choice]:
    for family, setting in run.made_for(aim, run.settings(target, aim.ability)):
        yield Choice(
            family=family,
            setting=setting,
            developed=run.at(target, aim.ability, setting, half=DEVELOPMENT),
            effect=effect(run, target, aim.ability, setting),
        )


def _best(aim: Aim, vectors: tuple[Choice, ...]) -> Choice | None:
    """The vector that is best where choice is allowed: on the development half; the earlier of equals."""
    known = [one for one in vectors if math.isfinite(_value(one.developed))]
    return max(known, key=lambda one: aim.ability.goodness(_value(one.developed)), default=None)


def _value(row: Measurement | None) -> float:
    return math.nan if row is None else row.value

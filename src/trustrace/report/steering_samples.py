"""The same item under several settings, by what each costs in perplexity: what a number hides, an answer shows (the paper's appendix G)."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trustrace.report.steering_findings import Finding
from trustrace.report.steering_folder import Answers, SteeringFolder
from trustrace.report.steering_runs import PLAIN, Setting, SteeringRun
from trustrace.report.steering_sentences import family_text, setting_text, shown

MOST_SETTINGS = 7
MOST_SHOWN = 3
MOST_CHARACTERS = 700
_OWN = {"dataset", "vector", "site", "alpha"}
_WRITTEN = ("response", "answer", "continuation", "written")
"""Where tasks keep what a model wrote."""


@dataclass(frozen=True, kw_only=True)
class AnswerText:
    """One setting's answer: who, where and how strongly, at which perplexity, and what was said or scored."""

    name: str
    setting: str
    perplexity: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class ItemText:
    """One item: what is the same under every setting, and what is not."""

    fields: tuple[tuple[str, str], ...]
    answers: tuple[AnswerText, ...]


def item_texts(run: SteeringRun, finding: Finding, folder: SteeringFolder) -> tuple[ItemText, ...]:
    """The first items of the aim's test half under a few settings, from the lowest perplexity to the highest."""
    found = folder.answers(finding.target, finding.aim.contrast, finding.aim.ability.task)
    settings = [setting for setting in _settings(run, finding) if _key(setting) in found]
    if not settings:
        return ()
    count = min(len(found[_key(setting)]) for setting in settings)
    return tuple(_item(run, finding, found, settings, place) for place in range(min(count, MOST_SHOWN)))


def _key(setting: Setting) -> tuple[str, str, float]:
    return (setting.vector, setting.site, setting.alpha)


def _settings(run: SteeringRun, finding: Finding) -> list[Setting]:
    """The unsteered model, the instruction, the best vector, one control, and others from cheap to dear; in order of perplexity."""
    every = run.settings(finding.target, finding.aim.ability)
    told = [setting for family, setting in run.made_for(finding.aim, every) if family.is_instruction]
    best = [finding.best.setting] if finding.best else []
    first = [PLAIN, *told[:1], *best, *(choice.setting for choice in finding.controls[:1])]
    others = [choice.setting for choice in finding.vectors if choice.setting not in first]
    others.sort(key=lambda setting: -_cost(run, finding.target, setting))
    shown_ones = [*first, *others[: max(0, MOST_SETTINGS - len(first))]]
    return sorted(shown_ones, key=lambda setting: _cost(run, finding.target, setting))


def _cost(run: SteeringRun, target: str, setting: Setting) -> float:
    row = run.at(target, run.perplexity, setting) if run.perplexity else None
    return row.value if row is not None and math.isfinite(row.value) else -math.inf


def _item(run: SteeringRun, finding: Finding, found: Answers, settings: Sequence[Setting], place: int) -> ItemText:
    samples = [found[_key(setting)][place] for setting in settings]
    same = [name for name in samples[0] if name not in {*_OWN, *_WRITTEN} and _is_shared(samples, name)]
    return ItemText(
        fields=tuple(_texts(samples[0], same)),
        answers=tuple(
            AnswerText(
                name=_name(run, finding, setting),
                setting=setting_text(setting) if setting.site else "",
                perplexity=shown(cost) if math.isfinite(cost := _cost(run, finding.target, setting)) else "",
                fields=tuple(_texts(sample, [name for name in sample if name not in {*_OWN, *same}])),
            )
            for setting, sample in zip(settings, samples, strict=True)
        ),
    )


def _is_shared(samples: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(name in sample and sample[name] == samples[0][name] for sample in samples)


def _name(run: SteeringRun, finding: Finding, setting: Setting) -> str:
    if setting == PLAIN:
        return "unsteered"
    name = family_text(run, run.families[setting.vector])
    return f"{name} (best)" if finding.best and setting == finding.best.setting else name


def _texts(sample: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        yield name.replace("_", " "), _text(sample[name])


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return shown(value)
    if isinstance(value, list):
        text = "; ".join(map(_text, value))
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} \u2026"

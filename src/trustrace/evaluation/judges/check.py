"""What a judge is worth: its agreement with people on answers to questions that it has not learned from, beside the floors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from trustrace.core.draws import generator
from trustrace.core.errors import AlignmentError, MeasurementError
from trustrace.core.measurements import Estimate, Measurement, Role
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.judges.floors import LengthJudge, MajorityJudge
from trustrace.evaluation.judges.human import HumanJudgements
from trustrace.evaluation.judges.judge import Judge, learned_from, seen
from trustrace.evaluation.judges.quality import HEADLINE, JudgeQuality, dataset_of, quality_from
from trustrace.measures.scoring import Sample, auroc, calibration_error, correct, mean, row_losses

DRAWS = 1000
"""Bootstrap samples of groups of questions."""

_VERDICTS_ONLY = "undefined: the judge is certain of some answers and wrong about one of them"

Scores = Float64[np.ndarray, " draw"]
Probabilities = Float64[np.ndarray, " item"]


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgeCheck:
    """What came out of a check.

    Attributes:
        rows: Every number with its interval, of the judge and of the floors, by kind of answer and by category of question.
        quality: The few of them that belong beside every score that the judge gives.
    """

    rows: tuple[Measurement, ...]
    quality: JudgeQuality


def check(
    judge: Judge,
    human: HumanJudgements,
    *,
    limit: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress = silent,
) -> JudgeCheck:
    """Compare `judge` with people.

    Rows are those of :func:`held_out`; the floors are fitted to the answers of models among all others. What the judge left unread is
    counted as ``abstained`` and is in no other number. Categories of questions are compared on answers of kind ``model`` alone.

    Args:
        judge: Any judge.
        human: What people said of the aspect that it judges.
        limit: Have only so many of the answers of kind ``model`` judged, drawn with `seed`: judging may cost money.
        draws: Bootstrap samples.
        seed: Of draws.
        progress: Told of answers as they are judged.

    Raises:
        AlignmentError: the judge judges another aspect.
        MeasurementError: there is no answer on which it can be checked, or it gives numbers that are no probabilities.
    """
    if judge.aspect != human.aspect:
        raise AlignmentError(f"{judge.name} judges {judge.aspect}, but these are human judgements of {human.aspect}")
    rows = held_out(judge, human)
    rest = human.where(~rows & np.array([kind == "model" for kind in human.kinds], dtype=bool))
    if not rows.any() or not len(rest):
        raise MeasurementError(
            f"{judge.name}: {int(rows.sum())} of {len(human)} human judgements are of questions that it has not learned from; "
            "it needs some on either side: train it on fewer questions"
        )
    checked = human.where(rows) if limit is None else _limited(human.where(rows), limit, seed=seed)
    note = exposure(judge)
    several: list[tuple[Judge, Role]] = [
        (judge, "measured"),
        (MajorityJudge.of(rest), "floor"),
        (LengthJudge.of(rest), "floor"),
    ]
    found: list[Measurement] = []
    for one, role in several:
        said = one.probabilities(checked.pairs, progress=progress)
        _require_probabilities(one.name, said)
        told = note if role == "measured" else ""
        found += _compared(one.name, said, checked, role=role, note=told, draws=draws, seed=seed)
    return JudgeCheck(rows=tuple(found), quality=quality_from(found, judge=judge.name, aspect=judge.aspect, note=note))


def held_out(judge: Judge, human: HumanJudgements) -> Bool[np.ndarray, " item"]:
    """The judgements on which `judge` may be checked: of questions that it has not learned from, or else of the test half."""
    if learned_from(judge):
        return ~seen(judge, [pair.question for pair in human.pairs])
    return np.array([split == "test" for split in human.splits], dtype=bool)


def exposure(judge: Judge) -> str:
    """What is known of what `judge` learned from, as a note beside its numbers."""
    known = learned_from(judge)
    if known is None:
        return "not known whether it learned from these judgements; public judges did, and are flattered here"
    return "on questions that it has not learned from" if known else "it learned from no judgement"


def _require_probabilities(name: str, said: Probabilities) -> None:
    if (wrong := said[(said < 0) | (said > 1)]).size:
        raise MeasurementError(
            f"{name} said {wrong[0]:g} of an answer, which is no probability; a judge gives numbers from 0 to 1, or NaN for none"
        )


def _limited(human: HumanJudgements, limit: int, *, seed: int) -> HumanJudgements:
    model = np.flatnonzero(np.asarray(human.kinds) == "model")
    chosen = generator(seed, "judge", "check").permutation(model)[:limit]
    return human.where(np.isin(np.arange(len(human)), chosen))


def _compared(
    name: str, said: Probabilities, human: HumanJudgements, *, role: Role, note: str, draws: int, seed: int
) -> Iterator[Measurement]:
    """Every subset of the rows: all, by kind of answer, by category of question."""
    kinds, categories = np.asarray(human.kinds), np.asarray(human.categories)
    subsets = {"": np.ones(len(human), dtype=bool)}
    subsets |= {kind: kinds == kind for kind in ("model", "reference", "no_comment")}
    subsets |= {f"category/{one}": (kinds == "model") & (categories == one) for one in sorted(set(human.categories))}
    for subset, rows in subsets.items():
        if rows.any():
            for estimate in estimates(
                name, said[rows], human.where(rows), role=role, note=note, draws=draws, seed=seed
            ):
                yield Measurement.of(estimate, dataset=dataset_of(human.aspect, subset), protocol="rigorous", seed=seed)


def estimates(
    name: str,
    said: Probabilities,
    human: HumanJudgements,
    *,
    role: Role = "measured",
    note: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Estimate]:
    """The agreement of P(yes) with people.

    ``accuracy`` (yes above one half), ``balanced_accuracy`` (the mean of the accuracies on people's yes and no), ``auroc``, ``log_loss`` in
    nats, ``ece``, ``brier`` (mean squared difference of P(yes) and verdict), ``bias`` (the share of answers that the judge affirms less
    the share that people affirm: its scores are off by so much), ``probability_bias`` (the same of the mean of P(yes)), ``abstained``.
    """
    asked = Sample.of(human.labels, human.groups, draws=draws, seed=seed)
    abstained = np.isnan(said)
    left_out = asked.estimate(
        "abstained", lambda w: mean(abstained.astype(np.float64), w), method=name, role=role, note=note
    )
    if abstained.all():
        return [left_out]
    read = human.where(~abstained)
    sample = asked if not abstained.any() else Sample.of(read.labels, read.groups, draws=draws, seed=seed)
    scores = _scores(read.labels.astype(np.int64), said[~abstained])
    return [*(_estimate(sample, *one, method=name, role=role, note=note) for one in scores.items()), left_out]


def _estimate(
    sample: Sample, quantity: str, score: Callable[[np.ndarray], Scores], *, method: str, role: Role, note: str
) -> Estimate:
    if np.isinf(score(np.ones((len(sample), 1)))[0]):
        return Estimate(
            quantity=quantity,
            method=method,
            value=np.nan,
            n=len(sample),
            n_groups=sample.n_groups,
            role=role,
            note=_VERDICTS_ONLY,
        )
    return sample.estimate(quantity, score, method=method, role=role, note=note)


def _scores(labels: np.ndarray, said: Probabilities) -> dict[str, Callable[[np.ndarray], Scores]]:
    yes = said > 0.5
    with np.errstate(divide="ignore"):
        log_odds = np.log(said) - np.log1p(-said)
    hits, squares = correct(labels, log_odds), (said - labels) ** 2
    affirmed = yes.astype(np.float64) - labels
    losses = row_losses(labels, log_odds)
    return {
        "accuracy": lambda w: mean(hits, w),
        "balanced_accuracy": lambda w: (_mean_of(hits, labels == 1, w) + _mean_of(hits, labels == 0, w)) / 2,
        "auroc": lambda w: auroc(labels, log_odds, w),
        "log_loss": lambda w: mean(losses, w),
        "ece": lambda w: calibration_error(labels, log_odds, w),
        "brier": lambda w: mean(squares, w),
        "bias": lambda w: mean(affirmed, w),
        "probability_bias": lambda w: mean(said - labels, w),
    }


def _mean_of(values: Float64[np.ndarray, " item"], rows: Bool[np.ndarray, " item"], weights: np.ndarray) -> Scores:
    return mean(values[rows], weights[rows])


def headline(rows: Sequence[Measurement]) -> list[Measurement]:
    """Those of `rows` that are about answers of models."""
    return [row for row in rows if row.dataset.endswith(f"/{HEADLINE}")]

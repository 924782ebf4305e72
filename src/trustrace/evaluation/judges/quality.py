"""What is known of a judge, kept where scores that it gives can show it beside them."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from typing_extensions import TypedDict

from trustrace.core.documents import shaped
from trustrace.core.errors import IntegrityError
from trustrace.core.measurements import Measurement
from trustrace.datasets.sources import cache_folder
from trustrace.evaluation.judges.endpoint import EndpointJudge
from trustrace.evaluation.judges.judge import Aspect, Judge
from trustrace.evaluation.judges.language_model import LanguageModelJudge


class _Kept(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    judge: str
    aspect: Aspect
    accuracy: float | None
    accuracy_lower: float | None
    accuracy_upper: float | None
    auroc: float | None
    auroc_lower: float | None
    auroc_upper: float | None
    bias: float | None
    bias_lower: float | None
    bias_upper: float | None
    ece: float | None
    abstained: float | None
    majority: float | None
    n: int
    n_groups: int
    note: str


FILE = "quality.json"
TABLE = "check.parquet"

HEADLINE = "model"
"""Judges are compared on answers that models gave: the verdicts on the others follow from a rule."""


@dataclass(frozen=True, kw_only=True)
class JudgeQuality:
    """A judge's agreement with people on answers of models, with 95 % intervals.

    Attributes:
        judge: Its name.
        aspect: What it judges.
        accuracy: Share of answers on which it agrees with people; lower and upper end beside it.
        auroc: The chance that it ranks an answer that people affirm above one that they do not.
        bias: The share that it affirms less the share that people affirm: its scores are off by so much.
        ece: Expected calibration error of its probabilities.
        abstained: Share of answers that it left unread.
        majority: The accuracy of always saying what people say most often.
        n: Answers.
        n_groups: Groups of questions.
        note: What is known of what it learned from.
    """

    judge: str
    aspect: Aspect
    accuracy: float
    accuracy_lower: float
    accuracy_upper: float
    auroc: float
    auroc_lower: float
    auroc_upper: float
    bias: float
    bias_lower: float
    bias_upper: float
    ece: float
    abstained: float
    majority: float
    n: int
    n_groups: int
    note: str

    @property
    def sentence(self) -> str:
        """One line to stand beside a score."""
        return (
            f"{self.judge} agrees with people on {self.accuracy:.3f} [{self.accuracy_lower:.3f}, {self.accuracy_upper:.3f}] of {self.n} "
            f"answers (majority {self.majority:.3f}; AUROC {self.auroc:.3f}); the share that it affirms is off by "
            f"{self.bias:+.3f} [{self.bias_lower:+.3f}, {self.bias_upper:+.3f}]; {self.note}"
        )


def dataset_of(aspect: Aspect, subset: str = HEADLINE) -> str:
    """What a check's rows are called in the tidy table."""
    return "/".join(part for part in (f"truthfulqa_judged_{aspect}", subset) if part)


def quality_from(rows: Sequence[Measurement], *, judge: str, aspect: Aspect, note: str) -> JudgeQuality:
    """The numbers on answers of models among `rows`; NaN where there is none."""
    wanted = dataset_of(aspect)
    found = {(row.method, row.quantity): row for row in rows if row.dataset == wanted}

    def number(quantity: str, field: str = "value", method: str = judge) -> float:
        row = found.get((method, quantity))
        return float(getattr(row, field)) if row else math.nan

    sized = found.get((judge, "accuracy"))
    ends = {f"{name}_{end}": number(name, end) for name in ("accuracy", "auroc", "bias") for end in ("lower", "upper")}
    return JudgeQuality(
        judge=judge,
        aspect=aspect,
        **{name: number(name) for name in ("accuracy", "auroc", "bias", "ece", "abstained")},
        **ends,
        majority=number("accuracy", method="majority"),
        n=sized.n if sized else 0,
        n_groups=sized.n_groups if sized else 0,
        note=note,
    )


def record_folder(judge: Judge) -> Path:
    """Where what is known of `judge` is kept: its own folder, or one of the cache for a judge that has none."""
    home: Path | None = getattr(judge, "home", None)
    return home if home is not None else cache_record(judge.name, judge.aspect, pin=_pin(judge))


def cache_record(name: str, aspect: Aspect, *, pin: str = "") -> Path:
    """The folder of the cache for a judge that has none of its own; `pin` tells judges of one name apart."""
    slug = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60]
    identity = f"{name}\x1f{pin}" if pin else name
    return cache_folder() / "judges" / f"{slug}-{aspect}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _pin(judge: Judge) -> str:
    """What tells a judge from others of its name: the content of a model's files, or where an endpoint is."""
    match judge:
        case LanguageModelJudge():
            return judge.model.checkpoint.commit
        case EndpointJudge():
            return judge.endpoint.base_url
        case _:
            return ""


def quality_of(judge: Judge) -> JudgeQuality | None:
    """What the last check of `judge` found; None where it was never checked.

    Raises:
        IntegrityError: what was kept cannot be read.
    """
    path = record_folder(judge) / FILE
    if not path.is_file():
        return None
    way_out = "it is not what a check writes; check the judge again: trustrace judge check"
    values = shaped(path.read_bytes(), _Kept, where=path, error=IntegrityError, way_out=way_out)
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
    return JudgeQuality(**known)


def as_json(quality: JudgeQuality) -> str:
    """`quality` as JSON, null where a number is undefined."""
    values = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(quality).items()
    }
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)

"""Whether the checkpoints of a series are what they are called: weights that belong to another step, another run, or nowhere.

Suites were published with checkpoints that hold other weights than their names say. Such weights are whole and finite, and every number
measured in them is wrong. What gives them away is their neighbours in training:

* **Equal weights.** Two revisions of different steps with the same weights: at least one of them is misnamed.
* **Detour.** With d the distance of two checkpoints in a tensor, d(before, after) < ½ min(d(before, it), d(it, after)) says that training
  would have gone away and come back. On a straight path the two sides are as 2 to 1, for a random walk as √2 to 1, for noise about a
  fixed point as 1 to 1; weights of another seed lie far off both neighbours, however near these are to each other.
* **Norm.** With r the log norm of a tensor less the line through its neighbours over log tokens, z = |r| / s, where s is the range of the
  log norms of up to two neighbours on either side, plus 1.4826 MAD of r over the series, plus 0.001. The range lets a steep start, and
  any turn that lasts longer than one checkpoint, be as steep as it is: a monotone course has z < 1.

The last two are held against a fifth of the tensors: a checkpoint is told when its ratio's lower, or its z's upper quintile over tensors
passes the bound. One shard of another checkpoint is enough for that. They cannot judge the ends of a series, nor see two neighbours that
are wrong together; norms need five checkpoints, detours three.

* **Loss.** What the weights say, rather than where they lie: the loss on a fixed text, against that of its neighbours
  (:mod:`trustrace.models.loss_course`). One tensor that is damaged is enough for that, and it can judge the ends.
"""

import io
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError, ConfigError
from trustrace.models.loss_course import loss_misfits
from trustrace.models.selection import log_progress
from trustrace.models.text_loss import TextLoss

SAMPLED = 128
"""Weights of each tensor that are kept, evenly spread over it."""

SHARE = 0.2
"""The share of the tensors that has to pass a bound."""

LEAST_RATIO = 0.5
"""The direct way between two neighbours against the shorter leg through what lies between: less is a detour."""

LARGEST_Z = 6.0
"""Deviations of a norm from the course of its neighbours: more is not of this course."""

_MAD_TO_STD = 1.4826
_FLOOR = 1e-3
_REACH = 2
_FEWEST_FOR_NORMS = 5
_FAR = 1e9

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    SyntaxError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
)
"""What reading an archive that is damaged can raise, wherever it is damaged."""

_Rows = np.ndarray[tuple[int, int], np.dtype[np.float64]]
_Column = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """What is kept of a checkpoint's weights: enough to see that it does not belong where it stands.

    Attributes:
        names: Its tensors.
        norms: The Euclidean norm of each.
        samples: Some values of each, at the same places in every checkpoint; zeros follow where a tensor has fewer.
        text: What it makes of a fixed text; None where it cannot read that.
    """

    names: tuple[str, ...]
    norms: Float[np.ndarray, " tensor"]
    samples: Float[np.ndarray, "tensor sample"]
    text: TextLoss | None = None

    def to_bytes(self) -> bytes:
        """As a file."""
        file = io.BytesIO()
        text = [] if self.text is None else [self.text.loss, self.text.uniform]
        np.savez_compressed(
            file, names=np.array(self.names), norms=self.norms, samples=self.samples, text=np.array(text)
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Vitals":
        """From a file.

        Raises:
            CheckpointError: it is no such file.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as held:
                names, text = tuple(map(str, held["names"])), held["text"].tolist()
                return cls(
                    names=names,
                    norms=held["norms"],
                    samples=held["samples"],
                    text=TextLoss(loss=text[0], uniform=text[1]) if text else None,
                )
        # What is not a whole archive makes zipfile and zlib say so in whichever way the damaged byte leads them to.
        except _DAMAGE as error:
            raise CheckpointError(
                f"the record of a checkpoint's weights cannot be read ({type(error).__name__}: {error})"
            ) from error


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A checkpoint that does not belong where it stands, and why not."""

    checkpoint: Checkpoint
    reason: str


def vitals_of(module: nn.Module, *, text: TextLoss | None = None) -> Vitals:
    """What to keep of a model's weights, read once on the device where they are; tied weights count once."""
    named = list(module.named_parameters())
    with torch.no_grad():
        norms = torch.stack([torch.linalg.vector_norm(one, dtype=torch.float32).cpu() for _, one in named])
        samples = torch.stack([_sample(one.detach()) for _, one in named])
    return Vitals(
        names=tuple(name for name, _ in named), norms=norms.double().numpy(), samples=samples.numpy(), text=text
    )


def screen(series: Sequence[tuple[Checkpoint, Vitals]]) -> tuple[Alarm, ...]:
    """The checkpoints of a series that do not belong where they stand, in order of training.

    Of two with equal weights, the one that fits its neighbours stays, if only one does; otherwise nothing tells them apart, and both go.
    Checkpoints with other tensors than most are of another architecture, and are not compared.

    Args:
        series: Checkpoints of one training, in any order.
    """
    ordered = sorted(series, key=lambda one: one[0])
    usual = Counter(vitals.names for _, vitals in ordered).most_common(1)
    others = [one for one, vitals in ordered if vitals.names != usual[0][0]]
    alike = [one for one in ordered if one[0] not in others]
    misfits = _loss_misfits(alike) | dict(_misfits(alike))
    fitting = [place for place in range(len(alike)) if place not in misfits]
    for one, other in combinations(fitting, 2):
        if _are_equal(alike[one], alike[other]):
            for place, twin in ((one, other), (other, one)):
                misfits.setdefault(place, f"its weights equal those of {alike[twin][0].revision}")
    alarms = [Alarm(checkpoint=alike[place][0], reason=why) for place, why in misfits.items()]
    strangers = [Alarm(checkpoint=one, reason="its tensors are not those of the rest of the series") for one in others]
    return tuple(sorted([*alarms, *strangers], key=lambda alarm: alarm.checkpoint))


def _sample(weight: torch.Tensor) -> torch.Tensor:
    flat = weight.reshape(-1)
    count = min(SAMPLED, flat.numel())
    places = torch.arange(count, device=flat.device) * flat.numel() // max(1, count)
    return nn.functional.pad(flat[places].float().cpu(), (0, SAMPLED - count))


def _are_equal(one: tuple[Checkpoint, Vitals], other: tuple[Checkpoint, Vitals]) -> bool:
    """Equal weights under names of different moments, less what may be equal: an end under two names, a first update at a rate of 0."""
    moments = [(checkpoint.step, checkpoint.tokens_seen) for checkpoint, _ in (one, other)]
    if (None, None) in moments or moments[0] == moments[1] or {one[0].step, other[0].step} == {0, 1}:
        return False
    return np.array_equal(one[1].norms, other[1].norms) and np.array_equal(one[1].samples, other[1].samples)


def _loss_misfits(series: Sequence[tuple[Checkpoint, Vitals]]) -> dict[int, str]:
    """The places of checkpoints whose loss is not of the course of the series, with the reason."""
    tokens = [checkpoint.tokens_seen for checkpoint, _ in series]
    steps = [checkpoint.step for checkpoint, _ in series]
    return dict(loss_misfits([vitals.text for _, vitals in series], progress=steps if None in tokens else tokens))


def _misfits(series: Sequence[tuple[Checkpoint, Vitals]]) -> Iterator[tuple[int, str]]:
    """The places of checkpoints that lie off the way of their neighbours, with the reason."""
    if len(series) < 3:
        return
    samples = [vitals.samples.astype(np.float64) for _, vitals in series]
    deviations = _norm_deviations(series)
    for place in range(1, len(series) - 1):
        before, after = series[place - 1][0].revision, series[place + 1][0].revision
        ratio = _quantile(_ratios(samples[place - 1], samples[place], samples[place + 1]), SHARE)
        z = _quantile(deviations[place], 1 - SHARE) if place in deviations else 0.0
        if ratio < LEAST_RATIO:
            yield (
                place,
                f"its weights lie off the way from {before} to {after}, which are {1 / max(ratio, 1e-9):.1f} times nearer to each other",
            )
        elif z > LARGEST_Z:
            yield place, f"the norms of its weights are {z:.0f} deviations off the course of {before} and {after}"


def _ratios(before: _Rows, here: _Rows, after: _Rows) -> _Column:
    """For each tensor the direct way against the shorter leg; undefined where nothing moved."""
    direct = np.linalg.norm(after - before, axis=1)
    legs = np.minimum(np.linalg.norm(here - before, axis=1), np.linalg.norm(after - here, axis=1))
    ratios = np.where(direct > 0, _FAR, np.nan)
    return np.asarray(np.divide(direct, legs, out=ratios, where=legs > 0))


def _norm_deviations(series: Sequence[tuple[Checkpoint, Vitals]]) -> Mapping[int, _Column]:
    """How far each norm is off, z, by place; none where checkpoints are too few to know their scatter."""
    if len(series) < _FEWEST_FOR_NORMS:
        return {}
    with np.errstate(divide="ignore"):
        logs = np.log(np.stack([vitals.norms for _, vitals in series]))
    logs[~np.isfinite(logs)] = np.nan
    marks = _marks([checkpoint for checkpoint, _ in series])
    residuals = {place: logs[place] - _between(marks, logs, place) for place in range(1, len(series) - 1)}
    stacked = np.stack(list(residuals.values()))
    scatter = _MAD_TO_STD * np.median(np.abs(stacked - np.median(stacked, axis=0)), axis=0)
    return {
        place: np.abs(residual) / (_range_around(logs, place) + scatter + _FLOOR)
        for place, residual in residuals.items()
    }


def _between(marks: Sequence[float], logs: _Rows, place: int) -> _Column:
    """The line through the neighbours, at the mark of `place`."""
    start, end = marks[place - 1], marks[place + 1]
    share = (marks[place] - start) / (end - start) if end > start else 0.5
    return np.asarray((1 - share) * logs[place - 1] + share * logs[place + 1])


def _range_around(logs: _Rows, place: int) -> _Column:
    """How far the norms of the neighbours lie apart; the checkpoint itself does not count."""
    around = [*range(max(0, place - _REACH), place), *range(place + 1, min(len(logs), place + _REACH + 1))]
    return np.asarray(np.ptp(logs[around], axis=0))


def _marks(checkpoints: Sequence[Checkpoint]) -> list[float]:
    try:
        return log_progress(checkpoints)
    except ConfigError:
        return [float(place) for place in range(len(checkpoints))]


def _quantile(values: _Column, share: float) -> float:
    """Over the tensors for which it is defined; NaN where it is for none, which passes no bound."""
    defined = values[~np.isnan(values)]
    return float(np.quantile(defined, share)) if len(defined) else float("nan")

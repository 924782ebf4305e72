"""Whether a checkpoint's loss on a fixed text belongs to the course of its series.

Let x be the log of the loss, in order of training. A loss falls, rises or stands still; what it rarely does is to leave the range of both
neighbours and to come back at once. So a checkpoint between two others is held against them,

    e = max(x − max(x₋, x₊), min(x₋, x₊) − x, 0),        z = e / (w + s + 0.02) > 6 max(1, n / 20)^⅓,

where w is how much its two neighbours on either side turn about among themselves: half the difference between the sum of their steps'
sizes and the size of their steps' sum; s is the scatter of the course: 1.4826 times the median size of its second differences over √6
(the standard deviation of white noise), over the whole series or over ten on either side, whichever is more; and n is how many losses
there are. The longer a series, the further its most unlucky checkpoint lies off: of n draws from Student's t with three degrees of freedom,
whose tails are heavy, the largest grows with the cube root of n. On a monotone course, however steep, e and w are 0; a spike that decays
over several checkpoints has a w of its own size.

The ends have neighbours on one side only, so that less can be said of them:

* **The last** is told when its loss is above the one before: e is that step, and w the largest rise in the four steps before it. A
  divergence that has begun earlier passes; a loss that falls is how training ends.
* **The first** is told when its loss is as far below the one after, and that one is still about that of no training (0.9 of what a model
  has for which all tokens are equally likely). Where the second has learned, a first that is better may be what training began from.
* **The first** is told, too, when it is itself about that of no training (0.95), although it is not of step 0, and the second, at most
  twice as far, is at 0.6 or less.

What one checkpoint alone shows cannot be told from damage. A spike of training passes when the checkpoint after its height still shows
a seventh of it; one that is over by then, or that begins at the last checkpoint, is an alarm.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from trustrace.models.text_loss import TextLoss

LARGEST_Z = 6.0
"""Deviations of a loss off the course of its neighbours: more is not of this course, in a series of up to :data:`SHORT`."""

SHORT = 20
"""Losses of a series up to which the bound stands still."""

FEWEST = 5
"""Losses of a series that can be judged."""

_MAD_TO_STD = 1.4826
_FLOOR = 0.02
_REACH, _REACH_AT_END, _REACH_OF_SCATTER = 2, 4, 10
_STILL_UNTRAINED, _UNTRAINED, _TRAINED = 0.9, 0.95, 0.6
_FURTHER = 2.0
_LEAST = 1e-9


def loss_misfits(losses: Sequence[TextLoss | None], *, progress: Sequence[int | None]) -> Mapping[int, str]:
    """The places whose loss is not of the series' course, with the reason.

    Args:
        losses: In order of training; None where there is none, which is passed over.
        progress: Tokens or steps of training at each place; where it is None, nobody knows what comes before and after.
    """
    infinite = [place for place, one in enumerate(losses) if one is not None and not math.isfinite(one.loss)]
    found = dict.fromkeys(infinite, "its loss on a fixed text is not finite")
    known = {
        place: one
        for place, one in enumerate(losses)
        if one is not None and progress[place] is not None and place not in found
    }
    if len(known) < FEWEST:
        return found
    logs = {place: math.log(max(one.loss, _LEAST)) for place, one in known.items()}
    within = _within(logs)
    # An end is held against what is right beside it, so that its neighbour's fault is not taken for its own.
    fitting = {place: x for place, x in logs.items() if place not in within}
    if len(fitting) < FEWEST - 1:
        return found | within
    found |= within | _last(fitting) | _first(fitting, known, progress)
    return found


def _threes(course: Sequence[float]) -> list[tuple[float, float, float]]:
    return list(zip(course, course[1:], course[2:], strict=False))


def _bound(n: int) -> float:
    """The deviations that a series of `n` losses may have by chance."""
    return LARGEST_Z * math.cbrt(max(1.0, n / SHORT))


def _scatter(course: Sequence[float], place: int) -> float:
    """The noise about a course near `place`, as a standard deviation; the loss at that place does not count."""
    bends = [abs(before - 2 * here + after) for before, here, after in _threes(course)]
    others = [bend if abs(i - place) > 1 else math.nan for i, bend in enumerate(bends, start=1)]
    near = others[max(0, place - 1 - _REACH_OF_SCATTER) : place + _REACH_OF_SCATTER]
    return _MAD_TO_STD / math.sqrt(6) * max(_median(others), _median(near))


def _median(values: Sequence[float]) -> float:
    """Of those that are known; 0 where none is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else 0.0


def _within(logs: Mapping[int, float]) -> dict[int, str]:
    """Places between others that lie off the course of both their neighbours."""
    places, course = list(logs), list(logs.values())
    bound, found = _bound(len(course)), {}
    for i, (before, here, after) in enumerate(_threes(course), start=1):
        around = [*course[max(0, i - _REACH) : i], *course[i + 1 : i + 1 + _REACH]]
        z = _excess(before, here, after) / (_turning(around) + _scatter(course, i) + _FLOOR)
        if z > bound:
            nearer = max(before, after) if here > before else min(before, after)
            found[places[i]] = (
                f"its loss on a fixed text is {_times(here - nearer)} its neighbours', {z:.0f} deviations off their course"
            )
    return found


def _last(logs: Mapping[int, float]) -> dict[int, str]:
    """The last place, where the loss leaps up."""
    course = list(logs.values())
    *before, last = _steps(course)
    z = _leap(last, before[-_REACH_AT_END:], scatter=_scatter(course, len(course) - 1))
    if not z > _bound(len(course)):
        return {}
    return {
        max(logs): f"its loss on a fixed text is {_times(last)} that of the checkpoint before it, {z:.0f} deviations"
    }


def _first(logs: Mapping[int, float], known: Mapping[int, TextLoss], progress: Sequence[int | None]) -> dict[int, str]:
    """The first place, where it is trained and the next is not yet, or the other way about without the time for it."""
    one, other = sorted(logs)[:2]
    course = list(logs.values())
    step, *after = _steps(course)
    here, next_one = (known[place].loss / known[place].uniform for place in (one, other))
    z = _leap(step, after[:_REACH_AT_END], scatter=_scatter(course, 0))
    if z > _bound(len(course)) and next_one >= _STILL_UNTRAINED:
        return {
            one: f"its loss on a fixed text is {_times(-step)} that of the next checkpoint, which has learned nothing yet"
        }
    if here >= _UNTRAINED and next_one <= _TRAINED and _is_near(progress[one], progress[other]):
        return {one: f"its loss on a fixed text is that of no training, {_times(-step)} that of the next checkpoint"}
    return {}


def _is_near(one: int | None, other: int | None) -> bool:
    """Whether `other` is at most so many times as far in training."""
    return one is not None and other is not None and 0 < one <= other <= _FURTHER * one


def _leap(step: float, others: Sequence[float], *, scatter: float) -> float:
    """The deviations of a step upwards, against the largest rise near it."""
    return step / (max(0.0, *others) + scatter + _FLOOR)


def _steps(course: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(course)]


def _excess(before: float, here: float, after: float) -> float:
    """How far `here` lies outside the range of its neighbours."""
    return max(here - max(before, after), min(before, after) - here, 0.0)


def _turning(course: Sequence[float]) -> float:
    """How much a course goes back on its way: 0 where it only rises or only falls."""
    steps = _steps(course)
    return (sum(map(abs, steps)) - abs(sum(steps))) / 2


def _times(log_ratio: float) -> str:
    return f"{math.exp(log_ratio):.2g} times"

"""What is known of a traced training besides its numbers: which steps were measured, which were skipped, and what time it took.

It lies in the run's folder as ``live.json``, so that a training that was killed goes on with it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, StringConstraints
from typing_extensions import TypedDict

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.documents import RecordedCheckpoint
from trustrace.runs.reading import read_document
from trustrace.studies.live.allowance import Allowance

HISTORY = "live.json"

_Step = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]


class _Time(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    share: float | None
    trained: NotRequired[float]
    steps: NotRequired[int]
    measured: NotRequired[float]
    cost: NotRequired[float | None]
    credit: NotRequired[float]


class _Kept(TypedDict):
    measured: dict[_Step, RecordedCheckpoint]
    skipped: dict[_Step, str]
    time: _Time


@dataclass(frozen=True, kw_only=True)
class History:
    """The steps of one training.

    Attributes:
        measured: What was measured, by step; the commit of each is that of its weights in memory.
        skipped: Why a scheduled step was not measured, by step.
        allowance: What time it took.
    """

    measured: Mapping[int, Checkpoint] = field(default_factory=dict)
    skipped: Mapping[int, str] = field(default_factory=dict)
    allowance: Allowance

    @classmethod
    def read(cls, folder: Path, *, share: float | None) -> "History":
        """The history in `folder`, or an empty one; `share` is what may be spent from now on."""
        path = folder / HISTORY
        if not path.is_file():
            return cls(allowance=Allowance(share=share))
        content = read_document(path, _Kept)
        return cls(
            measured={int(step): Checkpoint(**one) for step, one in content["measured"].items()},
            skipped={int(step): reason for step, reason in content["skipped"].items()},
            allowance=Allowance(**content["time"] | {"share": share}),
        )

    def as_json(self) -> dict[str, Any]:
        """What :meth:`read` reads."""
        return {
            "measured": {step: asdict(one) for step, one in self.measured.items()},
            "skipped": dict(self.skipped),
            "time": asdict(self.allowance),
        }

    def until(self, step: int) -> "History":
        """Without what lies after `step`, where training goes on."""
        return replace(
            self,
            measured={one: checkpoint for one, checkpoint in self.measured.items() if one <= step},
            skipped={one: reason for one, reason in self.skipped.items() if one <= step},
        )

    def having_measured(self, step: int, checkpoint: Checkpoint) -> "History":
        """With `step`."""
        skipped = {one: reason for one, reason in self.skipped.items() if one != step}
        return replace(self, measured={**self.measured, step: checkpoint}, skipped=skipped)

    def having_skipped(self, step: int, reason: str) -> "History":
        """Without `step`, and why."""
        return replace(self, skipped={**self.skipped, step: reason})

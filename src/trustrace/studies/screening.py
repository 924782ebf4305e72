"""Whether the checkpoints of a trace are what they are called: weights and loss are noted while they are in memory, and compared."""

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models.integrity import Alarm, Vitals, screen, vitals_of
from trustrace.models.language_model import LanguageModel
from trustrace.models.text_loss import text_loss
from trustrace.runs.identity import Unit, code_version
from trustrace.runs.ledger import Ledger
from trustrace.studies.planning import Subject, Units

VITALS = "vitals.npz"


def vitals_unit(checkpoint: Checkpoint) -> Unit:
    """What is noted of one checkpoint, to compare it with the others."""
    inputs = {"checkpoint": [checkpoint.key, checkpoint.commit], "code": code_version("core", "models")}
    return Unit(step="weights", name=checkpoint.key, inputs=inputs)


def note_weights(ledger: Ledger, subject: Subject, model: LanguageModel) -> None:
    """Note the weights of a checkpoint of the series, and its loss on a fixed text; models with fresh weights belong to no series."""
    unit = vitals_unit(subject.checkpoint)
    if subject.role != "measured" or ledger.is_finished(unit):
        return
    started = time.perf_counter()
    content = vitals_of(model.module, text=text_loss(model)).to_bytes()
    ledger.finish(unit, [], seconds=time.perf_counter() - started, files={VITALS: content})


def quarantined(plan: Units, ledger: Ledger) -> tuple[Alarm, ...]:
    """The checkpoints whose weights do not belong where they stand, of those that were noted; less those that the study trusts."""
    trained = [subject.checkpoint for subject in plan.subjects if subject.role == "measured"]
    noted = [(one, vitals_unit(one)) for one in trained]
    files = tuple((one, ledger.file_of(unit, VITALS)) for one, unit in noted if ledger.is_finished(unit))
    return tuple(one for one in _screened(files) if one.checkpoint.revision not in plan.study.checkpoints.trusted)


def told(alarms: Sequence[Alarm]) -> list[dict[str, str]]:
    """The alarms in the form of failures, for people."""
    way_out = "; its numbers are left out: fetch it again, leave it out of `select`, or name it under `trusted`"
    return [{"unit": one.checkpoint.key, "error": "Quarantined", "message": f"{one.reason}{way_out}"} for one in alarms]


@lru_cache(maxsize=4)
def _screened(files: tuple[tuple[Checkpoint, Path], ...]) -> tuple[Alarm, ...]:
    """What is noted is never written anew, so that the same files say the same.

    A record that cannot be read is an alarm of its own checkpoint, which nothing vouches for; the others are compared without it.
    """
    read, unreadable = [], []
    for checkpoint, path in files:
        try:
            read.append((checkpoint, Vitals.from_bytes(path.read_bytes())))
        except (CheckpointError, OSError) as error:
            reason = f"{path}: {error}; remove its folder, and it is noted anew when the checkpoint is next read"
            unreadable.append(Alarm(checkpoint=checkpoint, reason=reason))
    return tuple(sorted([*screen(read), *unreadable], key=lambda alarm: alarm.checkpoint))

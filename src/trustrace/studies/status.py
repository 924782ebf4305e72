"""How far a run is, read from its folder alone: any shell can ask while the run goes on."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from typing_extensions import TypedDict

from trustrace.core.documents import is_folder_name
from trustrace.core.errors import RunError
from trustrace.runs.beats import Beat, Listener, on_checkpoints, pulse
from trustrace.runs.reading import ELSEWHERE, Failure, Planned, Record, read_document

QUARANTINE = "quarantine.json"
"""The file of a trace that lists the checkpoints whose numbers are left out of its table, and why."""


class _Study(TypedDict, total=False):
    name: str | None
    model: list[str | None]


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """How long a run will still take, as far as that can be said.

    Attributes:
        seconds: The time; None where nothing is known to tell it by.
        basis: What it is told by.
    """

    seconds: float | None
    basis: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a run is.

    Attributes:
        name: The study's name.
        finished: Units with a record.
        total: Units of the study.
        failures: Units that failed and have not succeeded since, and checkpoints whose weights are not those of their place in training.
        workers: What each process in the run says that it does, or did when it was heard of last.
        unreadable: What is wrong with files in which processes should say what they do.
        left: How long the open units will take.
    """

    name: str
    finished: int
    total: int
    failures: tuple[dict[str, str], ...]
    workers: tuple[Beat, ...] = ()
    unreadable: tuple[str, ...] = ()
    left: TimeLeft

    @property
    def seconds_left(self) -> float | None:
        """How long the open units will take; None where that cannot be said."""
        return self.left.seconds

    @property
    def at_work(self) -> tuple[Beat, ...]:
        """The workers whose processes are there."""
        return _at_work(self.workers)


def read_status(run: Path) -> Status:
    """The status of the run in `run`.

    Raises:
        RunError: the folder holds no run.
    """
    return Following(run).status()


class Following:
    """A run whose status is asked for again and again: files that have not changed are not read again."""

    def __init__(self, run: Path) -> None:
        """Of the run in the folder `run`, which need not be there yet."""
        self._run = run
        self._read: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._known: set[str] = set()
        self._listener = Listener(run)

    def status(self) -> Status:
        """How far the run is now.

        Raises:
            RunError: the folder holds no run, or a file in it is damaged.
        """
        run = self._run
        if not (run / "study.json").is_file() or not (run / "plan.json").is_file():
            raise RunError(
                f"{run}: no run here (study.json or plan.json is missing); "
                "give the folder that `trustrace trace`, `steer` or `evaluate` wrote"
            )
        planned = self._document(run / "plan.json", list[Planned])
        finished = self._finished(planned)
        failures, heard = self._failures(planned, finished), self._listener.listen()
        return Status(
            name=_name(self._document(run / "study.json", _Study)),
            finished=len(finished),
            total=len(planned),
            failures=(*failures, *self._quarantined()),
            workers=heard.beats,
            unreadable=heard.unreadable,
            left=self._left(planned, finished, heard.beats),
        )

    def _finished(self, planned: Sequence[Any]) -> set[str]:
        """The units with a record here, found by one listing, or elsewhere; one that is still to come has no folder's name."""
        units = self._run / "units"
        present = {entry.name for entry in os.scandir(units)} if units.is_dir() else set()
        fresh = (name for name in present - self._known if is_folder_name(name))
        self._known = (self._known & present) | {name for name in fresh if (units / name / "record.json").is_file()}
        path = self._run / ELSEWHERE
        known = self._known.union(self._document(path, list[str]) if path.is_file() else ())
        return {unit["unit"] for unit in planned if unit["unit"] in known}

    def _left(self, planned: Sequence[Any], finished: set[str], workers: Sequence[Beat]) -> TimeLeft:
        open_, at_work = [unit for unit in planned if unit["unit"] not in finished], _at_work(workers)
        if not open_:
            return TimeLeft(seconds=0.0, basis="nothing is open")
        n_to_do = _to_do(len(open_), at_work, n_given_up=self._given_up(open_)) if at_work else len(open_)
        if not n_to_do:
            return TimeLeft(
                seconds=None, basis=f"{len(open_)} units are open, and those at work are to do none of them"
            )
        pace = sum(beat["here"] / on_checkpoints(beat) for beat in at_work if on_checkpoints(beat) > 0)
        if pace:
            return _at_their_pace(n_to_do, at_work, pace=pace)
        records = [
            self._document(self._run / "units" / name / "record.json", Record)
            for name in sorted(finished & self._known)
        ]
        return _by_records(records, [unit["name"] for unit in open_], n_to_do=n_to_do)

    def _given_up(self, open_: Sequence[Any]) -> int:
        """How many of the units `open_` have failed since the run was started last, which writes its plan anew."""
        started, count = (self._run / "plan.json").stat().st_mtime_ns, 0
        present = self._told_failures()
        for path in {present[unit["unit"]] for unit in open_ if unit["unit"] in present}:
            # A unit that succeeds at this moment takes its failure away.
            with suppress(FileNotFoundError):
                count += path.stat().st_mtime_ns >= started
        return count

    def _told_failures(self) -> dict[str, Path]:
        """Where it is said why a unit failed, by its name; a name that only the plan says leads to no file."""
        return {path.stem: path for path in (self._run / "failures").glob("*.json")}

    def _failures(self, planned: Sequence[Any], finished: set[str]) -> list[dict[str, str]]:
        """What is said of units that failed; one that another process finished since is none of them."""
        present = self._told_failures()
        open_ = (unit["unit"] for unit in planned if unit["unit"] not in finished)
        named = [present[name] for name in open_ if name in present]
        # A unit that succeeds at this moment takes its failure away.
        return [self._document(path, Failure) for path in named if path.is_file()]

    def _quarantined(self) -> list[dict[str, str]]:
        path = self._run / QUARANTINE
        found: list[dict[str, str]] = self._document(path, list[Failure]) if path.is_file() else []
        return found

    def _document(self, path: Path, shape: Any) -> Any:
        """What is at `path`, read again when it has changed."""
        try:
            seen = path.stat()
        except OSError:
            return read_document(path, shape)
        stamp = (seen.st_mtime_ns, seen.st_size)
        if self._read.get(path, ((), None))[0] != stamp:
            self._read[path] = (stamp, read_document(path, shape))
        return self._read[path][1]


def _name(study: dict[str, Any]) -> str:
    """The name that a study has, or that of the model that is evaluated."""
    return str(study.get("name") or f"evaluation of {next(iter(study.get('model') or ()), 'a model')}")


def _at_work(workers: Sequence[Beat]) -> tuple[Beat, ...]:
    return tuple(beat for beat in workers if pulse(beat) == "at work")


def _to_do(n_open: int, workers: Sequence[Beat], *, n_given_up: int) -> int:
    """How many of the open units those at work are still to try.

    Each says which units it has: with ``--retry-failed``, those that had failed alone. Workers that take what nobody has taken say none of
    their own; whoever oversees them says those of all. A unit that fails now is not tried again before the next start.
    """
    given_up = max(n_given_up, sum(beat["failed"] for beat in workers))
    asked = [beat for beat in workers if beat["stage"] == "overseeing"] or workers
    if any(beat["units"] for beat in asked) and all(beat["units"] or beat["stage"] != "starting" for beat in asked):
        n_open = min(n_open, sum(max(0, beat["units"] - beat["finished"]) for beat in asked))
    return max(0, n_open - given_up)


def _at_their_pace(n_open: int, workers: Sequence[Beat], *, pace: float) -> TimeLeft:
    """The open units, at the pace at which those at work have finished units so far, loading and downloads included."""
    units = sum(beat["here"] for beat in workers)
    n_workers = sum(beat["here"] > 0 for beat in workers)
    who = "one worker" if n_workers == 1 else f"{n_workers} workers"
    return TimeLeft(seconds=n_open / pace, basis=f"{n_open} units at the pace of the {units} that {who} finished")


def _by_records(records: Sequence[Any], remaining: Sequence[str], *, n_to_do: int) -> TimeLeft:
    """Units of one dataset cost alike whatever the checkpoint, so each open unit is priced by its own dataset where that is known.

    Where only `n_to_do` of the remaining ones will be tried, nobody says which: they cost what remaining ones do in the mean.
    """
    costs: dict[str, list[float]] = {}
    for record in records:
        costs.setdefault(_dataset(record["name"]), []).append(record["seconds"])
    if not costs:
        return TimeLeft(seconds=None, basis="nothing is finished yet")
    usual = mean(second for seconds in costs.values() for second in seconds)
    return TimeLeft(
        seconds=float(sum(mean(costs.get(_dataset(name), [usual])) for name in remaining)) * n_to_do / len(remaining),
        basis="what finished units took, one by one, without loading and downloads",
    )


def _dataset(unit_name: str) -> str:
    """What follows the checkpoint in a unit's name, and nothing for units without one."""
    return unit_name.partition("@")[2].partition("/")[2]

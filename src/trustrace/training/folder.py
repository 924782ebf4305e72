"""The folder of a pre-training run: what lies where, and how each thing in it is either whole or absent.

    out/pretrain.json                the configuration; the folder belongs to it
    out/tokenizer/                   the tokenizer
    out/corpus/                      the corpus as tokens
    out/checkpoints/step_0000123/    a plain Hugging Face folder and trustrace.json {step, tokens_seen, held_out_loss, held_out_tokens}
    out/state/step_0000123/          the newest training state, to go on from
    out/log.jsonl                    one line per step, and one per save

Folders are written under another name and renamed.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trustrace.core.documents import parsed
from trustrace.core.errors import RunError
from trustrace.training.config import PretrainConfig

LOCK = ".lock"
"""Held by the process that works in the folder."""


class RunFolder:
    """The places of a run in `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.record = out / "pretrain.json"
        self.tokenizer = out / "tokenizer"
        self.corpus = out / "corpus"
        self.checkpoints = out / "checkpoints"
        self.state = out / "state"
        self.log = out / "log.jsonl"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder while the body runs; a process that ends, however it ends, lets go.

        Raises:
            RunError: another process works in it.
        """
        self._require_free()
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.out}: another process trains here; wait for it, or choose another folder"
                ) from None
            yield

    def claim(self, config: PretrainConfig, *, resume: bool) -> None:
        """Make this the folder of `config`.

        Raises:
            RunError: it belongs to something else, or holds a run that is not to be resumed.
        """
        if self.record.is_file():
            self._require_same(config)
            if not resume:
                raise RunError(f"{self.out} already holds this run; resume it, or choose another folder")
        else:
            self._require_free()
            self.out.mkdir(parents=True, exist_ok=True)
            write_whole(self.record, config.model_dump_json(indent=1) + "\n")

    def _require_free(self) -> None:
        """Refuse a place that holds something other than a run, before anything is put there."""
        if self.record.is_file() or not self.out.exists():
            return
        if not self.out.is_dir() or any(entry.name != LOCK for entry in self.out.iterdir()):
            raise RunError(f"{self.out} is not empty and holds no pre-training run; choose another folder")

    def _require_same(self, config: PretrainConfig) -> None:
        values = parsed(
            self.record.read_bytes(), dict, where=self.record, error=RunError, way_out="choose another folder"
        )
        recorded = PretrainConfig.read(values, where=str(self.record))
        there, wanted = recorded.model_dump(mode="json"), config.model_dump(mode="json")
        differing = [
            f"  {key}: {there[key]!r} there, {wanted[key]!r} now" for key in there if there[key] != wanted[key]
        ]
        if differing:
            raise RunError(
                f"{self.out} belongs to another pre-training run; choose another folder. They differ in\n"
                + "\n".join(differing)
            )


def step_name(step: int) -> str:
    """``step_0000123``: sorts by name as by step."""
    return f"step_{step:07d}"


def steps_in(folder: Path) -> list[int]:
    """The steps whose folders are in `folder`, in order."""
    return sorted(int(path.name.removeprefix("step_")) for path in folder.glob("step_*"))


def partial_of(path: Path) -> Path:
    """Where `path` is written before it is whole."""
    return path.with_name(f".{path.name}.partial")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there with all of `text` or not at all."""
    partial = partial_of(path)
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_folder(path: Path, write: Callable[[Path], object]) -> None:
    """A folder that is there with all that `write` puts into it or not at all; one that stands there already is replaced."""
    partial = start_folder(path)
    write(partial)
    finish_folder(path)


def start_folder(path: Path) -> Path:
    """An empty folder beside `path`, to be filled before :func:`finish_folder` gives it its name."""
    partial = partial_of(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def finish_folder(path: Path) -> None:
    """Give the folder that :func:`start_folder` began its name, once its content has reached the disk."""
    partial = partial_of(path)
    for file in partial.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)


def require_space(folder: Path, *, needed: int, what: str) -> None:
    """Refuse before a disk is filled rather than after.

    Raises:
        RunError: fewer than `needed` bytes are free where `folder` is.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunError(
            f"{folder}: {what} needs {needed / 1e6:,.1f} MB but {free / 1e6:,.1f} MB are free; free some space and start again: "
            "the run goes on where it was"
        )


@contextmanager
def full_disk_is_an_error(folder: Path) -> Iterator[None]:
    """Say what a full disk means, wherever it fills.

    Raises:
        RunError: writing failed for want of space.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"{folder}: the disk is full; free some space and start again: the run goes on where it was"
            ) from error
        raise

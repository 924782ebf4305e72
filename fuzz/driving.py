"""Cases run one after another, watched: what a reader raised, how long it took, how much memory it asked for."""

import hashlib
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from fuzz.mutation import Mutation
from trustrace.core.errors import TrustraceError

SECONDS = 1.0
"""Of processor time: what a case may take."""

MEGABYTES = 512
"""What a case may add to the most that the process ever held."""

CORPUS = Path(__file__).resolve().parents[1] / "tests" / "fuzz_corpus"


class TooSlowError(Exception):
    """A case took too long."""


class TooLargeError(Exception):
    """A case asked for too much memory."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader.

    Attributes:
        name: What it reads.
        prepare: Writes what stands beside the mutated file into a folder, once, and returns valid contents of that file.
        read: Has the reader read such a content.
        mutate: Makes a content wrong.
        is_slow: Whether a valid case takes long by itself; then only errors count.
    """

    name: str
    prepare: Callable[[Path], Sequence[bytes]]
    read: Callable[[Path, bytes], object]
    mutate: Mutation
    is_slow: bool = False


@dataclass
class Findings:
    """What became of the cases of one target; of failures, the smallest case of each place."""

    name: str
    cases: int = 0
    refused: int = 0
    seconds: float = 0.0
    failures: dict[str, bytes] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)

    def note(self, content: bytes, error: BaseException) -> None:
        """Keep a failure."""
        place = _place(error)
        if len(content) < len(self.failures.get(place, content + b"\0")):
            self.failures[place] = content
            self.traces[place] = "".join(traceback.format_exception(error))


def run(target: Target, *, cases: int, seconds: float, seed: int) -> Findings:
    """Up to `cases` mutations of `target`'s valid contents within `seconds`."""
    found = Findings(name=target.name)
    start = time.monotonic()
    with folder_for(target) as (folder, valid):
        for content in valid:
            target.read(folder, content)
        rng = Random(f"{target.name} {seed}")
        pool = list(valid)
        while found.cases < cases and time.monotonic() - start < seconds:
            content = mutated(rng, target.mutate, rng.choice(pool))
            (folder / ".case").write_bytes(content)
            if is_accepted(target, folder, content, found) and len(pool) < 64 and rng.random() < 0.05:
                pool.append(content)
    found.seconds = time.monotonic() - start
    return found


def mutated(rng: Random, mutate: Mutation, content: bytes) -> bytes:
    """Twice or more often now and then; what mutations themselves cannot take apart any more stays as it is."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        try:
            content = mutate(rng, content)
        # What is wrong already may be beyond a mutation that follows the format.
        except Exception:  # noqa: BLE001
            break
    return content[: 1 << 20]


def is_accepted(target: Target, folder: Path, content: bytes, found: Findings) -> bool:
    """Have `target` read `content`, note what is wrong, and say whether it was read without an error."""
    found.cases += 1
    try:
        with watched(is_slow=target.is_slow):
            target.read(folder, content)
    except TrustraceError:
        found.refused += 1
        return False
    except (KeyboardInterrupt, SystemExit):
        raise
    # Whatever else a reader raises is what is looked for.
    except BaseException as error:  # noqa: BLE001
        found.note(content, error)
        return False
    return True


@contextmanager
def folder_for(target: Target) -> Iterator[tuple[Path, Sequence[bytes]]]:
    """A folder with what stands beside the mutated file, in memory where there is such a place; and the valid contents."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        valid = target.prepare(folder)
        # What is imported at the first reading is no matter of the cases.
        target.read(folder, valid[0])
        yield folder, valid


@contextmanager
def watched(*, is_slow: bool = False) -> Iterator[None]:
    """Raise where the body takes too long or too much memory.

    Raises:
        TooSlowError: it took more than a second of processor time.
        TooLargeError: the process grew by more than half a gigabyte.
    """
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    previous = signal.signal(signal.SIGALRM, _alarmed)
    signal.setitimer(signal.ITIMER_REAL, 60.0 if is_slow else 20.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
        taken = time.process_time() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most) / 1024
        if taken > SECONDS and not is_slow:
            raise TooSlowError(f"{taken:.1f} s of processor time")
        if grown > MEGABYTES:
            raise TooLargeError(f"{grown:.0f} MB more than before")


def _alarmed(number: int, frame: FrameType | None) -> None:
    raise TooSlowError("no end in sight")


def _place(error: BaseException) -> str:
    """The kind of error and the deepest line of ours on the way to it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/trustrace/" in frame.filename and "/site-packages/" not in frame.filename]
    at = f"{Path(ours[-1].filename).stem}-{ours[-1].name}" if ours else frames[-1].name
    return f"{type(error).__name__}-{at}".replace("<", "").replace(">", "")


def keep(found: Findings) -> list[Path]:
    """Write the failures into the corpus, by the hash of their content, unless they are there already."""
    paths = []
    for content in found.failures.values():
        path = CORPUS / found.name / hashlib.sha256(content).hexdigest()[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths

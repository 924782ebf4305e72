"""A target that is one file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fuzz.driving import Target
from fuzz.mutation import Mutation


def of_file(
    name: str,
    file: str,
    read: Callable[[Path], object],
    valid: Callable[[Path], Sequence[bytes]],
    mutate: Mutation,
    *,
    is_slow: bool = False,
) -> Target:
    """Has `read` read the path of `file` in the target's folder; `valid` writes what stands beside it, and gives valid contents."""

    def reading(folder: Path, content: bytes) -> object:
        path = folder / file
        path.write_bytes(content)
        return read(path)

    return Target(name=name, prepare=valid, read=reading, mutate=mutate, is_slow=is_slow)

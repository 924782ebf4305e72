"""A download under way: how much of it is here, as the disk tells it."""

from dataclasses import dataclass
from pathlib import Path

from trustrace.models.shelf import HubFile, Shelf


@dataclass(frozen=True, kw_only=True)
class Fetching:
    """The files of one checkpoint while they are fetched.

    Attributes:
        checkpoint: Its key.
        files: All that it needs, what was here before included.
        shelf: Where they go.
    """

    checkpoint: str
    files: tuple[HubFile, ...]
    shelf: Shelf

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self._sizes().values())

    @property
    def fetched(self) -> int:
        """Bytes that are here."""
        return sum(min(size, _here(self.shelf.blob(content))) for content, size in self._sizes().items())

    def _sizes(self) -> dict[str, int]:
        """Each content once, under however many names it is listed."""
        return {file.content: file.size for file in self.files}


def _here(blob: Path) -> int:
    """Bytes of a content, or of the largest part of it that there is: an attempt that broke off leaves its part behind."""
    parts = (_size(part) for part in (blob, *blob.parent.glob(f"{blob.name}.*.incomplete")))
    return max(parts, default=0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        # It has become the whole file in this moment, or is not there yet.
        return 0

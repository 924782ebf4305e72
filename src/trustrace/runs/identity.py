"""What makes two pieces of work the same piece of work."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any


def canonical_json(content: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal content gives equal bytes; NaN and infinity are refused."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@cache
def code_version(*rooms: str) -> str:
    """SHA-256 of the source of some rooms of the package: what computed a record is part of what it is."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(file for room in rooms for file in (package / room).rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The smallest piece of work that is finished or not.

    Attributes:
        step: The kind of work (``trace``, ``floors``).
        name: For people: what it works on.
        inputs: All that changes its answer, as JSON values: configuration, data fingerprints, checkpoint commits, the step's version.
            Device, batch size and folders never belong here.
    """

    step: str
    name: str
    inputs: Mapping[str, Any]

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the step and its inputs; the name is decoration and stays out."""
        return hashlib.sha256(canonical_json([self.step, dict(self.inputs)]).encode()).hexdigest()

    @cached_property
    def folder(self) -> str:
        """A folder name that a person can read and that two different units never share."""
        readable = re.sub(r"[^A-Za-z0-9._@+-]+", "-", self.name).strip("-.")[:80]
        return f"{self.step}-{readable}-{self.identity[:16]}"

"""Activations on disk: one safetensors file, one tensor per site, and a manifest that is written last.

The file is written row by row while a model runs and read site by site, so neither needs more memory than one batch or one site. Its
header names what wrote it: such a file counts only with its manifest, ``<file>.json``. A safetensors file of anybody else's counts as
it is, if its tensors are named by site and have one row per statement.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NotRequired

from jaxtyping import Float32
from pydantic import ConfigDict
from safetensors import SafetensorError, safe_open
from torch import Tensor
from typing_extensions import TypedDict

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.documents import RecordedCheckpoint, shaped
from trustrace.core.errors import AlignmentError, ConfigError, DataError, IntegrityError, MeasurementError
from trustrace.core.sites import Site

FORMAT = "trustrace-activations-1"

Stored = Literal["F32", "BF16", "F16"]
"""What values of one site are stored as, in the words of safetensors."""

_BYTES: Mapping[Stored, int] = MappingProxyType({"F32": 4, "BF16": 2, "F16": 2})


class _Manifest(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    checkpoint: RecordedCheckpoint
    sites: list[str]
    position: str
    fingerprint: str
    n: int
    d_model: int
    provenance: NotRequired[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Activations:
    """Where a model's residual stream stood on each statement, at every site of one file.

    Attributes:
        path: The file.
        checkpoint: The model; named after the file where somebody else captured it.
        sites: What can be read, in order of depth.
        position: How a statement's tokens became one vector; empty where unknown.
        fingerprint: Of the texts, as :attr:`trustrace.core.statements.Statements.texts_fingerprint`; empty where unknown.
        n: Statements.
        d_model: Width.
        provenance: How they were captured: precision, attention, batching, versions.
    """

    path: Path
    checkpoint: Checkpoint
    sites: tuple[str, ...]
    position: str
    fingerprint: str
    n: int
    d_model: int
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def open(cls, path: Path) -> "Activations":
        """The activations in a file, of which only the header and the manifest are read.

        Raises:
            DataError: there is no such file, or it holds tensors that are no site's.
            IntegrityError: it is truncated, is no safetensors file, or its manifest is missing, broken or another file's.
            AlignmentError: its tensors have different shapes.
        """
        shapes, ours = _header(path)
        sites, n, d_model = _layout(path, shapes)
        if not ours:
            unknown = Checkpoint(family="file", model=path.stem, revision="file")
            return cls(path=path, checkpoint=unknown, sites=sites, position="", fingerprint="", n=n, d_model=d_model)
        opened = cls.from_manifest(path)
        if (set(opened.sites), opened.n, opened.d_model) != (set(sites), n, d_model):
            raise IntegrityError(f"{manifest_path(path)} describes another file than {path}; capture again")
        return opened

    @classmethod
    def from_manifest(cls, path: Path) -> "Activations":
        """What the manifest of `path` says."""
        manifest = manifest_path(path)
        try:
            content = manifest.read_bytes()
        except FileNotFoundError:
            raise IntegrityError(
                f"{path} has no manifest {manifest.name}: its capture did not finish; capture again"
            ) from None
        way_out = "it is no manifest of activations; capture again"
        values = shaped(content, _Manifest, where=manifest, error=IntegrityError, way_out=way_out)
        checkpoint = Checkpoint(**values.pop("checkpoint"))
        return cls(path=path, checkpoint=checkpoint, sites=tuple(values.pop("sites")), **values)

    def to_manifest(self) -> str:
        """The text of the manifest."""
        values = asdict(self)
        del values["path"]
        return json.dumps(values, indent=2)

    def __len__(self) -> int:
        return self.n

    def values(self, site: str) -> Float32[Tensor, "statement d_model"]:
        """What was read at `site`, memory-mapped.

        Raises:
            ConfigError: the file has no such site.
            MeasurementError: a row holds NaN or infinity.
        """
        if site not in self.sites:
            raise ConfigError(f"{self.path} has no site {site!r}; it has: {', '.join(self.sites)}")
        with _opened(self.path) as file:
            values: Tensor = file.get_tensor(site).float()
        # One row's sum is finite exactly if every entry is, short of an overflow that the second look at those rows rules out.
        suspects = (~values.sum(dim=1).isfinite()).nonzero().flatten().tolist()
        broken = [row for row in suspects if not values[row].isfinite().all()]
        if broken:
            raise MeasurementError(
                f"{self.path}: NaN or infinity at site {site}, row {broken[0]} and {len(broken) - 1} more of {len(values)}; "
                "leave the site out, or capture it in a wider dtype such as float32"
            )
        return values


def manifest_path(path: Path) -> Path:
    """Where the manifest of `path` lies."""
    return path.with_name(f"{path.name}.json")


def header(
    *, sites: tuple[str, ...], n: int, d_model: int, stored: Mapping[str, Stored] = MappingProxyType({})
) -> bytes:
    """The beginning of a safetensors file of one tensor per site, in the given order; float32 but for what `stored` says of a site."""
    tensors: dict[str, Any] = {}
    begin = 0
    for site in sites:
        dtype = stored.get(site, "F32")
        end = begin + _BYTES[dtype] * n * d_model
        tensors[site] = {"dtype": dtype, "shape": [n, d_model], "data_offsets": [begin, end]}
        begin = end
    text = json.dumps({"__metadata__": {"format": FORMAT}, **tensors}).encode()
    # Tensors begin at a multiple of 8 bytes, so that they can be memory-mapped.
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist; name a file that 'trustrace capture' wrote, or a safetensors file"
        ) from None
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path} is no whole safetensors file ({error}); capture or copy it again") from error


def _header(path: Path) -> tuple[dict[str, tuple[int, ...]], bool]:
    """The shape of each tensor, and whether this package wrote the file."""
    with _opened(path) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return shapes, (file.metadata() or {}).get("format") == FORMAT


def _layout(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[str, ...], int, int]:
    """The sites in order of depth, the rows and the width that all of them share."""
    try:
        sites = sorted(Site.parse(name) for name in shapes)
    except ConfigError as error:
        raise DataError(f"{path}: every tensor must be named by its site; {error}") from None
    if not sites:
        raise DataError(f"{path} holds no tensor; it needs one per site")
    if len(set(shapes.values())) > 1 or len(shapes[sites[0].name]) != 2:
        raise AlignmentError(
            f"{path}: every tensor must have the same shape [statement, d_model], but they have {dict(shapes)}"
        )
    n, d_model = shapes[sites[0].name]
    return tuple(site.name for site in sites), n, d_model

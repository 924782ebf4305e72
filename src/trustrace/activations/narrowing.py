"""Activations in half the space, where no value changes by it.

A model that computes in two bytes a value leaves a residual stream of such values; reading one token of it makes them wider and changes
none. A mean over tokens has more digits, and stays as it is.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from trustrace.activations.store import Activations, Stored, header, manifest_path
from trustrace.activations.writing import publish, unwritable

_NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_NAMES: dict[torch.dtype, Stored] = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}


def narrowed(activations: Activations, *, out: Path) -> Activations:
    """Write `activations` to `out`, in two bytes a value at each site where every value stays what it is; their own file goes then.

    Raises:
        MeasurementError: a value is not finite.
        RunError: the disk is full or not writable; nothing is at `out` then, and `activations` are as they were.
    """
    wanted = _NARROW.get(str(activations.provenance.get("dtype")), torch.float32)
    dtypes = {site: wanted if _fits(activations.values(site), wanted) else torch.float32 for site in activations.sites}
    stored = sorted({str(dtype).removeprefix("torch.") for dtype in dtypes.values()})
    written = replace(
        activations, path=out, provenance=dict(activations.provenance) | {"stored_dtype": " and ".join(stored)}
    )
    try:
        _write(activations, dtypes, written)
    except OSError as error:
        raise unwritable(written, error) from error
    activations.path.unlink()
    manifest_path(activations.path).unlink(missing_ok=True)
    return written


def _fits(values: Float32[Tensor, "statement d_model"], dtype: torch.dtype) -> bool:
    """Whether every value of one site is one of `dtype`."""
    return bool((values.to(dtype).float() == values).all())


def _write(activations: Activations, dtypes: dict[str, torch.dtype], written: Activations) -> None:
    out = written.path
    out.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent)
    scratch = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            names = {site: _NAMES[dtype] for site, dtype in dtypes.items()}
            file.write(header(sites=written.sites, n=written.n, d_model=written.d_model, stored=names))
            for site in written.sites:
                file.write(activations.values(site).to(dtypes[site]).contiguous().view(torch.uint8).numpy().data)
            file.flush()
            os.fsync(file.fileno())
        publish(scratch, written)
    finally:
        scratch.unlink(missing_ok=True)

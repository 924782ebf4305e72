"""Half the space where no value changes by it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trustrace.activations.capture import capture
from trustrace.activations.narrowing import narrowed
from trustrace.activations.store import Activations
from trustrace.core.errors import RunError
from trustrace.core.sites import Position
from trustrace.models import tiny
from trustrace.models.loading import load
from trustrace.models.sources import open_source

TEXTS = ["a cat sat", "the dog ran home", "it rained"]


def captured(folder: Path, *, dtype: str, position: Position = "last") -> Activations:
    tiny.save(folder / "model", "llama")
    source = open_source(str(folder / "model"))
    model = load(source, source.checkpoints()[0], dtype=dtype, prove=False)
    return capture(model, TEXTS, out=folder / "wide.safetensors", position=position, fingerprint="abc")


@pytest.mark.parametrize(
    ("dtype", "position", "stored", "bytes_per_value"),
    [
        ("bfloat16", "last", "bfloat16", 2),
        ("float16", "max", "float16", 2),
        ("bfloat16", "mean", "float32", 4),
        ("float32", "last", "float32", 4),
    ],
)
def test_no_value_changes_and_what_the_model_computes_in_decides_the_space(
    tmp_path: Path, dtype: str, position: Position, stored: str, bytes_per_value: int
) -> None:
    wide = captured(tmp_path, dtype=dtype, position=position)
    before = {site: wide.values(site).clone() for site in wide.sites}
    narrow = narrowed(wide, out=tmp_path / "narrow.safetensors")
    assert Activations.open(tmp_path / "narrow.safetensors") == replace(wide, path=narrow.path)
    assert all(torch.equal(narrow.values(site), values) for site, values in before.items())
    assert stored in narrow.provenance["stored_dtype"]
    values = len(TEXTS) * wide.d_model * len(wide.sites)
    # A mean of one or two tokens may have few digits; of the sites, at least one then needs four bytes.
    assert values * bytes_per_value * 0.5 < narrow.path.stat().st_size < values * bytes_per_value + 2048
    assert sorted(path.name for path in tmp_path.glob("*safetensors*")) == [
        "narrow.safetensors",
        "narrow.safetensors.json",
    ]


def test_a_site_that_needs_four_bytes_keeps_them_beside_those_that_do_not(tmp_path: Path) -> None:
    wide = captured(tmp_path, dtype="bfloat16")
    site = wide.sites[1]
    values = wide.values(site).clone()
    values[0, 0] = 1 / 3
    begin = wide.path.stat().st_size - (len(wide.sites) - 1) * values.numel() * 4
    with wide.path.open("r+b") as file:
        file.seek(begin)
        file.write(values.numpy().tobytes())
    assert torch.equal(wide.values(site), values)
    narrow = narrowed(wide, out=tmp_path / "narrow.safetensors")
    assert torch.equal(narrow.values(site), values)
    assert narrow.provenance["stored_dtype"] == "bfloat16 and float32"


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    wide = captured(tmp_path, dtype="bfloat16")
    (tmp_path / "wall").write_text("a file where a folder is needed")
    with pytest.raises(RunError, match="could not be written"):
        narrowed(wide, out=tmp_path / "wall" / "narrow.safetensors")
    assert Activations.open(wide.path) == wide

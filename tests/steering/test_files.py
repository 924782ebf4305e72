import json
import math
import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.steering.examples import make_vector
from trustrace.core.errors import DataError, IntegrityError, RunError, TrustraceError, UnsafeFileError
from trustrace.steering.files import load, manifest_path, save
from trustrace.steering.vectors import Scales, SteeringVector


def same(one: SteeringVector, other: SteeringVector) -> bool:
    tensors = ("direction", "replicates")
    plain = [name for name in (one.name for one in fields(SteeringVector)) if name not in (*tensors, "reliability")]
    equal = all(getattr(one, name) == getattr(other, name) for name in plain)
    equal &= one.reliability == other.reliability or (math.isnan(one.reliability) and math.isnan(other.reliability))
    if (one.replicates is None) != (other.replicates is None):
        return False
    equal &= one.replicates is None or torch.equal(one.replicates, other.replicates)  # type: ignore[arg-type]
    return equal and torch.equal(one.direction, other.direction)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    vectors = [
        make_vector(reliability=0.75, replicates=torch.randn(5, 8)),
        make_vector(torch.arange(1.0, 9.0), kind="random", site="final_norm"),
    ]
    [file] = save(vectors, tmp_path / "two.safetensors")
    assert all(same(one, other) for one, other in zip(vectors, load(file), strict=True))
    files = save(vectors, tmp_path / "folder")
    assert len(files) == 2
    assert {vector.key for vector in load(tmp_path / "folder")} == {vector.key for vector in vectors}
    assert all(same(one, load(file)[0]) for one, file in zip(vectors, files, strict=True))


def test_a_file_has_a_name_that_is_safe_in_paths(tmp_path: Path) -> None:
    [file] = save([make_vector(dataset="../odd name/ü")], tmp_path)
    assert file.parent == tmp_path
    assert " " not in file.name
    assert load(file)[0].dataset == "../odd name/ü"


def test_an_unknown_scale_stays_unknown(tmp_path: Path) -> None:
    scales = Scales(distance=1.0, within_std=1.0, projection_std=1.0, residual_norm=math.nan)
    [file] = save([make_vector(scales=scales)], tmp_path)
    assert math.isnan(load(file)[0].scales.residual_norm)
    assert "NaN" not in manifest_path(file).read_text()


def test_writing_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    save([make_vector()], tmp_path)
    [file] = save([make_vector(torch.arange(1.0, 9.0))], tmp_path)
    assert float(load(file)[0].direction[7]) > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([file.name, manifest_path(file).name])


def test_two_vectors_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two vectors are called"):
        save([make_vector(), make_vector()], tmp_path)
    with pytest.raises(DataError, match="no vectors"):
        save([], tmp_path)


def test_a_vector_does_not_take_the_file_of_another(tmp_path: Path) -> None:
    one, other = make_vector(dataset="my set"), make_vector(torch.arange(1.0, 9.0), dataset="my-set")
    with pytest.raises(DataError, match="would hold both"):
        save([one, other], tmp_path)
    assert not list(tmp_path.iterdir())
    [file] = save([one], tmp_path)
    with pytest.raises(DataError, match="give one dataset another name"):
        save([other], tmp_path)
    assert same(load(file)[0], one)
    save([make_vector(torch.arange(1.0, 9.0), dataset="my set")], tmp_path)
    # What is no longer whole may be built again.
    truncate(file)
    save([one], tmp_path)
    assert same(load(file)[0], one)


class Killed(BaseException):
    """The end of the process: nothing that tidies up after errors sees it."""


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("instant", range(6))
def test_a_kill_at_any_instant_leaves_the_old_or_the_new_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: int, before: bool
) -> None:
    old, new = make_vector(), make_vector(torch.arange(1.0, 9.0))
    file = tmp_path / "v.safetensors"
    if before:
        save([old], file)
    real, moves = Path.replace, 0

    def replaced(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if instant == 2 * (moves - 1):
            raise Killed
        done = real(self, target)
        if instant == 2 * (moves - 1) + 1:
            raise Killed
        return done

    monkeypatch.setattr(Path, "replace", replaced)
    with pytest.raises(Killed):
        save([new], file)
    monkeypatch.setattr(Path, "replace", real)
    is_new = instant >= 3
    if not before and not is_new:
        assert not file.exists()
    else:
        assert same(load(file)[0], new if is_new else old)
    save([old], file)
    assert same(load(file)[0], old)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.safetensors", "v.safetensors.json"]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("the pickle was run",))


@pytest.mark.parametrize("name", ["v.pt", "v.bin", "v.pkl", "v.npy", "v.npz", "v.safetensors", "v"])
def test_a_pickle_is_refused_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeFileError, match="pickle"):
        load(tmp_path / name)


def test_an_archive_of_torch_or_numpy_is_refused_under_our_suffix(tmp_path: Path) -> None:
    torch.save({"direction": torch.ones(3)}, tmp_path / "torch.safetensors")
    with (tmp_path / "numpy.safetensors").open("wb") as file:
        np.save(file, np.array([{"a": 1}]), allow_pickle=True)
    for name in ("torch", "numpy"):
        with pytest.raises(UnsafeFileError):
            load(tmp_path / f"{name}.safetensors")


def spoil_tensors(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def edit_manifest(file: Path) -> None:
    manifest = manifest_path(file)
    body = json.loads(manifest.read_text())
    body["vectors"][0]["scales"]["distance"] = 9.0
    manifest.write_text(json.dumps(body))


def break_manifest(file: Path) -> None:
    manifest_path(file).write_text("{")


def lose_manifest(file: Path) -> None:
    manifest_path(file).unlink()


@pytest.mark.parametrize("damage", [spoil_tensors, truncate, edit_manifest, break_manifest, lose_manifest])
def test_a_damaged_file_is_found_out(tmp_path: Path, damage: object) -> None:
    [file] = save([make_vector()], tmp_path)
    damage(file)  # type: ignore[operator]
    with pytest.raises(IntegrityError):
        load(file)


def test_a_truncated_file_without_a_manifest_is_found_out(tmp_path: Path) -> None:
    [file] = save([make_vector()], tmp_path)
    lose_manifest(file)
    truncate(file)
    with pytest.raises(IntegrityError, match="no whole safetensors file"):
        load(file)


def test_files_of_other_tools_are_told_apart_from_damaged_ones(tmp_path: Path) -> None:
    save_file({"direction.1": torch.ones(8)}, tmp_path / "theirs.safetensors")
    with pytest.raises(DataError, match="another tool"):
        load(tmp_path / "theirs.safetensors")
    (tmp_path / "v.gguf").write_bytes(b"GGUF....")
    with pytest.raises(DataError, match="not read back"):
        load(tmp_path / "v.gguf")
    [file] = save([make_vector()], tmp_path)
    manifest = manifest_path(file)
    manifest.write_text(manifest.read_text().replace("trustrace-vectors-1", "trustrace-vectors-9"))
    with pytest.raises(DataError, match="trustrace-vectors-9"):
        load(file)


@pytest.mark.parametrize("place", ["absent.safetensors", "."])
def test_a_place_without_vectors_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(DataError, match=r"does not exist|holds no vector"):
        load(tmp_path / place)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="could not be written"):
        save([make_vector()], tmp_path / "file")


def test_a_manifest_that_vouches_for_nonsense_is_refused(tmp_path: Path) -> None:
    vector = make_vector()
    object.__setattr__(vector, "kind", "wishful")
    [file] = save([vector], tmp_path)
    with pytest.raises(TrustraceError, match="unknown kind 'wishful'"):
        load(file)
    longer = replace(make_vector(), dataset="longer")
    object.__setattr__(longer, "direction", torch.full((8,), 2.0))
    [file] = save([longer], tmp_path)
    with pytest.raises(IntegrityError, match="length 1"):
        load(file)

import json
import resource

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from trustrace.activations.store import Activations, header, manifest_path
from trustrace.activations.writing import writing
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import (
    AlignmentError,
    ConfigError,
    DataError,
    IntegrityError,
    MeasurementError,
    RunError,
)

SITES = ("embed", "block_0", "block_1")


def planned(path, *, n=7, d_model=5):
    return Activations(
        path=path,
        checkpoint=Checkpoint(family="pretrain", model="runs/tiny", revision="step_10", step=10, tokens_seen=640),
        sites=SITES,
        position="last",
        fingerprint="f00d",
        n=n,
        d_model=d_model,
        provenance={"dtype": "float32"},
    )


def written(path, *, n=7, d_model=5, seed=0, **changed):
    """A finished file whose rows were written in no order; the values it should hold."""
    rng = np.random.default_rng(seed)
    values = {site: rng.normal(size=(n, d_model)).astype(np.float32) for site in SITES}
    for site, (row, column, value) in changed.items():
        values[site][row, column] = value
    with writing(planned(path, n=n, d_model=d_model)) as writer:
        for rows in np.array_split(rng.permutation(n), 3):
            for site in SITES:
                writer.put(site, rows.tolist(), values[site][rows])
    return values


def test_what_is_written_in_any_order_is_read_in_the_order_of_statements(tmp_path):
    values = written(tmp_path / "a.safetensors")
    opened = Activations.open(tmp_path / "a.safetensors")
    assert opened == planned(tmp_path / "a.safetensors")
    assert len(opened) == 7
    for site in SITES:
        assert np.array_equal(opened.values(site).numpy(), values[site])


def test_the_file_is_plain_safetensors(tmp_path):
    values = written(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        assert sorted(file.keys()) == sorted(SITES)
        for site in SITES:
            assert np.array_equal(file.get_tensor(site), values[site])


def test_activations_of_somebody_else_need_no_manifest(tmp_path):
    path = tmp_path / "theirs.safetensors"
    values = {site: torch.randn(4, 3, dtype=torch.float16) for site in ("final_norm", "block_10", "block_9")}
    save_file(values, path)
    opened = Activations.open(path)
    assert opened.sites == ("block_9", "block_10", "final_norm")
    assert (len(opened), opened.d_model, opened.position, opened.fingerprint) == (4, 3, "", "")
    assert opened.checkpoint.key == "theirs@file"
    assert torch.equal(opened.values("block_9"), values["block_9"].float())


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ({"layer_1": torch.zeros(2, 3)}, DataError, "unknown site 'layer_1'"),
        ({"block_0": torch.zeros(2, 3), "block_1": torch.zeros(3, 3)}, AlignmentError, "same shape"),
        ({"block_0": torch.zeros(2, 3, 4)}, AlignmentError, r"\[statement, d_model\]"),
        ({}, DataError, "holds no tensor"),
    ],
)
def test_somebody_elses_file_that_is_not_activations_is_refused(tensors, error, message, tmp_path):
    save_file(tensors, tmp_path / "theirs.safetensors")
    with pytest.raises(error, match=message):
        Activations.open(tmp_path / "theirs.safetensors")


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.safetensors does not exist"):
        Activations.open(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(kept, tmp_path):
    path = tmp_path / "a.safetensors"
    written(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(IntegrityError, match="no whole safetensors file"):
        Activations.open(path)


def test_a_file_of_ours_without_its_manifest_is_refused(tmp_path):
    written(tmp_path / "a.safetensors")
    manifest_path(tmp_path / "a.safetensors").unlink()
    with pytest.raises(IntegrityError, match="did not finish"):
        Activations.open(tmp_path / "a.safetensors")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"checkpoint": {"step": 3}}', "\x00"])
def test_a_broken_manifest_is_refused(text, tmp_path):
    written(tmp_path / "a.safetensors")
    manifest_path(tmp_path / "a.safetensors").write_text(text)
    with pytest.raises(IntegrityError, match="no manifest of activations"):
        Activations.open(tmp_path / "a.safetensors")


@pytest.mark.parametrize("change", [{"n": 8}, {"d_model": 4}, {"sites": ["embed", "block_0"]}])
def test_a_manifest_of_another_file_is_refused(change, tmp_path):
    written(tmp_path / "a.safetensors")
    manifest = manifest_path(tmp_path / "a.safetensors")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(IntegrityError, match="another file"):
        Activations.open(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_named_by_site_and_row(value, tmp_path):
    written(tmp_path / "a.safetensors", block_1=(4, 2, value))
    opened = Activations.open(tmp_path / "a.safetensors")
    opened.values("block_0")
    with pytest.raises(MeasurementError, match=r"site block_1, row 4 "):
        opened.values("block_1")


def test_large_numbers_whose_sum_overflows_are_still_numbers(tmp_path):
    save_file({"embed": torch.full((2, 3), 3e38)}, tmp_path / "a.safetensors")
    assert Activations.open(tmp_path / "a.safetensors").values("embed").isfinite().all()


def test_an_unknown_site_is_answered_with_the_known_ones(tmp_path):
    written(tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="no site 'block_7'; it has: embed, block_0, block_1"):
        Activations.open(tmp_path / "a.safetensors").values("block_7")


def test_nothing_appears_when_the_body_raises(tmp_path):
    path = tmp_path / "sub" / "a.safetensors"

    def interrupted():
        with writing(planned(path)) as writer:
            writer.put("embed", [0], np.zeros((1, 5), dtype=np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(path.parent.iterdir()) == []


def test_a_second_capture_replaces_the_first(tmp_path):
    written(tmp_path / "a.safetensors", n=7)
    values = written(tmp_path / "a.safetensors", n=3, seed=1)
    opened = Activations.open(tmp_path / "a.safetensors")
    assert len(opened) == 3
    assert np.array_equal(opened.values("embed").numpy(), values["embed"])


def test_a_full_disk_is_told_before_the_work_and_leaves_what_was_there(tmp_path):
    values = written(tmp_path / "a.safetensors")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with (
            pytest.raises(RunError, match=r"could not be written: .*; 120 MB are needed"),
            writing(planned(tmp_path / "a.safetensors", n=1000, d_model=10_000)),
        ):
            pytest.fail("the body ran")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "a.safetensors.json"]
    assert np.array_equal(Activations.open(tmp_path / "a.safetensors").values("embed").numpy(), values["embed"])


def test_a_file_is_never_beside_a_manifest_that_is_not_its_own(tmp_path):
    manifest = manifest_path(tmp_path / "a.safetensors")
    manifest.mkdir()
    with pytest.raises(RunError, match="could not be written"):
        written(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == [manifest]


@pytest.mark.parametrize("n", range(1, 9))
def test_tensors_begin_where_they_can_be_memory_mapped(n):
    assert len(header(sites=SITES, n=10**n, d_model=5)) % 8 == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="choose another folder"), writing(planned(tmp_path / "file" / "a.safetensors")):
        pytest.fail("the body ran")

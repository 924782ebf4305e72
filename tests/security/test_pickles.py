"""A planted pickle that would run code, in every place where a folder or a file is opened: it never runs."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trustrace.activations.store import Activations
from trustrace.core.errors import DataError, IntegrityError, RunError, TrustraceError, UnsafeFileError
from trustrace.core.measurements import Estimate, Measurement
from trustrace.datasets.alignment import read_pairs
from trustrace.datasets.files import read_statements
from trustrace.evaluation.toxicity.files import read_classifier
from trustrace.models import tiny
from trustrace.models.classifier import load_classifier
from trustrace.models.loading import load, random_init
from trustrace.models.sources import open_source
from trustrace.runs.table import read_replicates
from trustrace.steering import files as vectors
from trustrace.studies.judging import open_judge
from trustrace.studies.settings import Settings
from trustrace.training.devices import Devices

ROW = Measurement.of(
    Estimate(quantity="accuracy", method="m", value=0.5, n=3, n_groups=2), dataset="d", protocol="rigorous", seed=0
)
BESIDE = (
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "tokenizer.pkl",
    "vocab.pkl",
    "pytorch_model.bin",
)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (self.marker,))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "code-has-run"


@pytest.fixture
def plant(marker: Path) -> Callable[..., Path]:
    def write(path: Path, *, zipped: bool = False) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if zipped:
            torch.save({"weight": Bomb(marker)}, path)
        else:
            path.write_bytes(pickle.dumps({"weight": Bomb(marker)}))
        return path

    return write


def opened(folder: Path) -> object:
    source = open_source(str(folder))
    return load(source, source.checkpoints()[-1])


def test_the_planted_pickle_would_run_code(plant: Callable[..., Path], marker: Path, tmp_path: Path) -> None:
    pickle.loads(plant(tmp_path / "bomb").read_bytes())  # noqa: S301
    assert marker.exists()


@pytest.mark.parametrize("zipped", [False, True])
def test_weights_that_would_run_code_are_refused(
    plant: Callable[..., Path], marker: Path, tmp_path: Path, zipped: bool
) -> None:
    folder = tiny.save(tmp_path / "model", "llama")
    (folder / "model.safetensors").unlink()
    plant(folder / "pytorch_model.bin", zipped=zipped)
    for read in (opened, lambda folder: load_classifier(str(folder))):
        with pytest.raises(UnsafeFileError, match="could run code"):
            read(folder)
    assert not marker.exists()


@pytest.mark.parametrize("name", BESIDE)
def test_pickles_beside_a_model_are_never_opened(
    plant: Callable[..., Path], marker: Path, tmp_path: Path, name: str
) -> None:
    folder = tiny.save(tmp_path / "model", "llama")
    plant(folder / name)
    opened(folder)
    source = open_source(str(folder))
    random_init(source, source.checkpoints()[-1], seed=0)
    assert not marker.exists()


def test_a_pickled_adapter_is_refused(plant: Callable[..., Path], marker: Path, tmp_path: Path) -> None:
    base = tiny.save(tmp_path / "base", "llama")
    adapter = tmp_path / "adapter"
    plant(adapter / "adapter_model.bin")
    (adapter / "adapter_config.json").write_text(f'{{"peft_type": "LORA", "base_model_name_or_path": "{base}"}}')
    with pytest.raises(UnsafeFileError, match="in a pickle are not read"):
        opened(adapter)
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_training_state_that_would_run_code_is_refused(
    plant: Callable[..., Path], marker: Path, tmp_path: Path, zipped: bool
) -> None:
    plant(tmp_path / "state" / "state.pt", zipped=zipped)
    model = torch.nn.Linear(1, 1)
    with pytest.raises(UnsafeFileError, match="could run code"):
        Devices(torch.device("cpu")).load_state(model, torch.optim.AdamW(model.parameters()), tmp_path / "state")
    assert not marker.exists()


def test_pickled_arrays_of_a_run_are_refused(marker: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "replicates.npz", **{"0": np.array([Bomb(marker)], dtype=object)})
    with pytest.raises(RunError, match="no arrays of numpy"):
        read_replicates([ROW], tmp_path / "replicates.npz")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["v.pt", "v.pkl", "v.npy", "v.safetensors", "v.gguf"])
def test_vectors_are_never_unpickled(plant: Callable[..., Path], marker: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeFileError, match="may hold a pickle"):
        vectors.load(plant(tmp_path / name))
    assert not marker.exists()


READERS: dict[str, tuple[Callable[[Path], object], type[TrustraceError]]] = {
    "a.safetensors": (Activations.open, IntegrityError),
    "judge.pkl": (lambda path: open_judge(str(path), settings=Settings(device="cpu")), UnsafeFileError),
    "own.csv": (read_statements, DataError),
    "own.jsonl": (read_statements, DataError),
    "own.parquet": (read_statements, DataError),
    "own.pkl": (read_statements, DataError),
    "pairs.jsonl": (read_pairs, DataError),
    "pairs.jsonl.gz": (read_pairs, DataError),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pickle_under_another_name_is_refused(
    plant: Callable[..., Path], marker: Path, tmp_path: Path, name: str
) -> None:
    read, error = READERS[name]
    with pytest.raises(error):
        read(plant(tmp_path / name))
    assert not marker.exists()


def test_a_pickle_in_a_classifiers_folder_is_refused(plant: Callable[..., Path], marker: Path, tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    plant(folder / "classifier.json")
    shutil.copy(folder / "classifier.json", folder / "classifier.safetensors")
    with pytest.raises(IntegrityError, match="not JSON"):
        read_classifier(folder)
    assert not marker.exists()

"""Counted work against the arithmetic that torch is really asked for."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from trustrace.activations.store import Activations
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.measures.information.inputs import FixedInputs
from trustrace.measures.measure import measure
from trustrace.measures.work import Work, columns, inputs_work, site_work

PROBING = ProbingConfig(bootstrap_draws=100)
INFORMATION = InformationConfig(widths=(50.0, "median"), components=None, permutations=40, bootstrap_draws=100)


class Counted(TorchDispatchMode):
    """Floating-point operations of matrix products by type, and how many operations there were."""

    def __init__(self) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        if func.overloadpacket.__name__ == "mm":
            left, right = args[0], args[1]
            self.flops[str(left.dtype)] += 2 * left.shape[0] * left.shape[1] * right.shape[1]
        return func(*args, **(kwargs or {}))


def example(n: int, d_model: int, folder: Path) -> tuple[Activations, Statements, FixedInputs]:
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(n, d_model)) / np.sqrt(np.arange(1, d_model + 1))
    features = torch.from_numpy(latent @ rng.normal(size=(d_model, d_model))).float()
    labels = (latent[:, 0] + rng.normal(size=n) > 0).astype(int)
    path = folder / "some.safetensors"
    save_file({"block_1": features, "block_2": features.sign() * features.abs().sqrt()}, path)
    statements = Statements(
        name="made",
        dimension="custom",
        texts=tuple(f"word{row % 17} of {row}" for row in range(n)),
        labels=tuple(labels.tolist()),
        groups=tuple(str(row // 3) for row in range(n)),
        splits=("train",) * n,
        meaning=LabelMeaning(one="yes", zero="no", desired=1),
        source=Source(title="made up", licence="CC0-1.0"),
    )
    return Activations.open(path), statements, FixedInputs.of_words(statements, embedding=features)


def counted(n: int, d_model: int, folder: Path, information: InformationConfig | None) -> Counted:
    """What one more site takes."""
    activations, statements, inputs = example(n, d_model, folder)
    both = []
    for sites in (["block_1"], ["block_1", "block_2"]):
        with Counted() as found:
            measure(
                activations,
                statements,
                config=PROBING,
                protocol="rigorous",
                seed=0,
                information=information,
                inputs=inputs if information else None,
                sites=sites,
            )
        both.append(found)
    more = Counted()
    more.flops = both[1].flops - both[0].flops
    more.operations = both[1].operations - both[0].operations
    return more


def foreseen(n: int, d_model: int, information: InformationConfig | None) -> Work:
    return site_work(n, d_model, protocols=["rigorous"], probing=PROBING, information=information)


@pytest.mark.parametrize("d_model", [256, 96], ids=["wide", "tall"])
def test_the_products_of_probing_are_foreseen_within_a_factor_of_two(d_model: int, tmp_path: Path) -> None:
    found, said = counted(400, d_model, tmp_path, None), foreseen(400, d_model, None)
    assert 0.5 < said.single / found.flops["torch.float32"] < 2
    assert 0.5 < said.double / found.flops["torch.float64"] < 2
    assert 0.5 < said.operations / found.operations < 2


def test_the_products_of_information_are_foreseen_within_a_factor_of_two(tmp_path: Path) -> None:
    found, said = counted(400, 256, tmp_path, INFORMATION), foreseen(400, 256, INFORMATION)
    assert 0.5 < said.single / found.flops["torch.float32"] < 2
    assert 0.5 < said.double / found.flops["torch.float64"] < 2
    assert 0.5 < said.operations / found.operations < 2


def test_columns_are_those_of_the_default_study() -> None:
    # 10 pairs of folds x 6, 5 outer, 25 whitened, 4 controls x 5, two long prefixes x 6.
    assert columns(ProbingConfig()) == 60 + 5 + 25 + 20 + 12


def test_the_scripts_probe_stays_on_the_processor_and_their_smoother_is_one_factorisation() -> None:
    said = site_work(1000, 64, protocols=["published"], probing=PROBING, information=InformationConfig())
    assert said.processor > 0
    assert (said.single, said.factored) == (0, pytest.approx(800**3))


def test_both_protocols_cost_their_sum_and_information_is_bounded_by_its_statements() -> None:
    def work(*protocols: Any, most: int | None = 300) -> Work:
        config = INFORMATION.model_copy(update={"max_statements": most})
        return site_work(400, 256, protocols=protocols, probing=PROBING, information=config)

    assert work("rigorous", "published") == work("rigorous") + work("published")
    assert work("rigorous", most=None).factored > work("rigorous").factored
    assert work("rigorous", most=4000) == work("rigorous", most=None)


def test_inputs_are_factored_once_and_only_where_information_is_rigorous() -> None:
    rigorous = inputs_work(200, protocols=["rigorous"], information=INFORMATION)
    assert rigorous.factored == 3 * 2 * 200**3
    assert inputs_work(200, protocols=["published"], information=INFORMATION) == Work()
    assert inputs_work(200, protocols=["rigorous"], information=None) == Work()


def test_work_adds_and_multiplies_part_by_part() -> None:
    some = Work(single=1.0, double=2.0, factored=3.0, moved=4.0, processor=5.0, operations=6.0)
    assert some + some == some.times(2.0)
    assert math.isclose(some.times(0.5).operations, 3)

"""The scripts' two numbers: their formula in double precision, on their rows."""

import math

import numpy as np
import pytest

from tests.measures.examples import make_features, make_statements, store
from tests.measures.information import textbook
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.measures.measure import measure

PROBING, CONFIG = ProbingConfig(), InformationConfig()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    t, labels = make_features(n=120, d=30, signal=3.0)
    x, _ = make_features(n=120, d=30, seed=5)
    folder = tmp_path_factory.mktemp("captured")
    return store(folder, {"block_0": x, "block_1": t}), make_statements(n=120, n_groups=120, labels=labels.tolist())


def published(activations, statements):
    return measure(activations, statements, config=PROBING, information=CONFIG, protocol="published", seed=0)


def standardised(values):
    x = values.double().numpy()
    return ((x - x.mean(axis=0)) / x.std(axis=0, ddof=1))[:96]


def test_they_equal_the_scripts_formula_in_double_precision(example):
    activations, statements = example
    rows = {(row.site, row.quantity): row for row in published(*example) if row.role == "measured"}
    x, t = (standardised(activations.values(site)) for site in ("block_0", "block_1"))
    y = np.asarray(statements.labels, dtype=float)[:96, None]
    kernels = {
        name: textbook.gaussian_kernel(v, variance=2 * 50.0**2 * v.shape[1])
        for name, v in zip("xty", (x, t, y), strict=True)
    }
    for quantity, other in (("I(T;X)", "x"), ("I(T;Y)", "y")):
        row = rows[("block_1", quantity)]
        expected = textbook.normalized_hsic(kernels[other], kernels["t"], ridge=1e-5)
        assert row.value == pytest.approx(expected, rel=1e-8)
        assert (row.n, row.method) == (96, "nhsic_50")


def test_the_label_term_cannot_exceed_its_cap(example):
    (ceiling,) = [row for row in published(*example) if row.role == "ceiling" and row.site == "block_1"]
    share = np.mean(example[1].labels[:96])
    eigenvalue = 2 * share * (1 - share) * (1 - math.exp(-1 / 5000))
    assert ceiling.value == pytest.approx(eigenvalue / (eigenvalue + 1e-5))
    assert ceiling.value < 0.91


def test_a_constant_feature_is_undefined(tmp_path):
    x, labels = make_features(n=40, d=6)
    x[:, 2] = 1.0
    rows = published(store(tmp_path, {"block_0": x}), make_statements(n=40, n_groups=40, labels=labels.tolist()))
    values = [row for row in rows if row.quantity in ("I(T;X)", "I(T;Y)") and row.role == "measured"]
    assert all(math.isnan(row.value) and "constant" in row.note for row in values)


def test_without_the_first_block_the_input_term_is_undefined_and_says_so(tmp_path):
    x, labels = make_features(n=40, d=6)
    rows = published(store(tmp_path, {"block_3": x}), make_statements(n=40, n_groups=40, labels=labels.tolist()))
    (row,) = [row for row in rows if row.quantity == "I(T;X)"]
    assert math.isnan(row.value)
    assert "first block" in row.note


def test_in_single_precision_the_same_formula_goes_astray():
    """Why double precision: the scripts' arithmetic loses small dependences, and may return negative ones."""
    big, _ = make_features(n=500, d=1000, signal=0.0, decay=0.2, seed=3)
    t = standardised(big)
    t = t[: len(t)]
    y = np.random.default_rng(0).integers(0, 2, len(t)).astype(float)[:, None]
    kernels = [textbook.gaussian_kernel(v, variance=2 * 50.0**2 * v.shape[1]) for v in (t, y)]
    double = textbook.normalized_hsic(*kernels, ridge=1e-5)
    n, single = len(t), []
    for kernel in kernels:
        one = kernel.astype(np.float32) @ textbook.centring(n).astype(np.float32)
        single.append(one @ np.linalg.inv(one + np.float32(1e-5 * n) * np.eye(n, dtype=np.float32)))
    astray = float(np.sum(single[0] * single[1].T))
    assert double > 0
    assert abs(astray - double) > 1e-3 * double

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from tests.measures.examples import make_features
from trustrace.core.errors import MeasurementError
from trustrace.measures.spaces import FeatureSpace, TallSpace, WideSpace, feature_space, spanned


def gram(space: FeatureSpace) -> np.ndarray:
    """The inner products of all rows: the responses to the pulls of single rows."""
    return space.responses(space.double.pull(torch.eye(len(space), dtype=torch.float64))).numpy()


@pytest.mark.parametrize(("n", "d", "kind"), [(40, 90, WideSpace), (90, 60, WideSpace), (90, 40, TallSpace)])
def test_a_space_keeps_every_inner_product_of_the_centred_features(n, d, kind):
    x, _ = make_features(n=n, d=d)
    space = feature_space(x, features="scaled")
    centred = x.double().numpy() - x.double().numpy().mean(axis=0)
    assert isinstance(space, kind)
    np.testing.assert_allclose(gram(space), centred @ centred.T, atol=1e-10)


@pytest.mark.parametrize("d", [20, 90])
def test_some_rows_keep_their_inner_products(d):
    space = feature_space(make_features(n=60, d=d)[0], features="scaled")
    rows = torch.arange(60) % 3 > 0
    np.testing.assert_allclose(gram(space.take(rows)), gram(space)[rows][:, rows], atol=1e-10)


@pytest.mark.parametrize("d", [20, 90])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_operator_preconditions_by_a_symmetric_positive_map_and_knows_its_responses(d, dtype):
    space = feature_space(make_features(n=60, d=d)[0], features="scaled")
    operator = space.double.to(dtype)
    residual = torch.eye(space.n_coefficients, dtype=dtype)
    columns = torch.ones(space.n_coefficients, dtype=dtype)
    step, responses = operator.precondition(residual, level=0.2 * columns, penalties=0.5 * columns)
    torch.testing.assert_close(responses, space.responses(step.double()).to(dtype), atol=1e-4, rtol=1e-4)
    metric = gram(space) if isinstance(space, WideSpace) else np.eye(space.n_coefficients)
    map_ = metric @ step.double().numpy()
    np.testing.assert_allclose(map_, map_.T, atol=1e-5)
    assert np.linalg.eigvalsh(map_).min() > -1e-5


def test_unit_rms_gives_every_statement_the_same_norm_before_centring():
    x, _ = make_features(n=50, d=30)
    scaled_rows = x * torch.logspace(-2, 2, 50)[:, None]
    here, there = (feature_space(values, features="unit_rms") for values in (scaled_rows, x))
    np.testing.assert_allclose(gram(here), gram(there), atol=1e-5)


def test_zscore_uses_the_statistics_of_training_rows_alone():
    x, _ = make_features(n=80, d=20)
    train = torch.arange(80) < 50
    got = gram(feature_space(x, features="zscore", train=train))
    expected = StandardScaler().fit(x[train].double().numpy()).transform(x.double().numpy())
    expected -= expected.mean(axis=0)
    np.testing.assert_allclose(got, expected @ expected.T, atol=1e-8)


def test_zscore_leaves_out_a_feature_that_is_constant_over_the_training_rows():
    x, _ = make_features(n=40, d=5)
    x[:30, 2] = 7.0
    got = gram(feature_space(x, features="zscore", train=torch.arange(40) < 30))
    without = gram(feature_space(x[:, [0, 1, 3, 4]], features="zscore", train=torch.arange(40) < 30))
    np.testing.assert_allclose(got, without, atol=1e-9)


def test_zscore_without_training_rows_is_an_error():
    with pytest.raises(MeasurementError, match="need the training rows"):
        feature_space(make_features(n=10, d=3)[0], features="zscore")


@pytest.mark.parametrize("d", [11, 90])
def test_mean_variance_is_that_of_the_training_rows(d):
    x, _ = make_features(n=70, d=d)
    train = torch.from_numpy(np.random.default_rng(0).random((70, 3)) < 0.6)
    got = feature_space(x, features="scaled").mean_variance(train)
    expected = [x.double()[train[:, column]].var(dim=0, correction=0).mean().item() for column in range(3)]
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("features", ["unit_rms", "scaled"])
@pytest.mark.parametrize("fill", [0.0, 0.3])
@pytest.mark.parametrize("d", [12, 20])
def test_activations_that_do_not_differ_are_known_as_such(features, fill, d):
    assert feature_space(torch.full((30, d), fill), features=features).is_constant
    assert not feature_space(make_features(n=30, d=d)[0], features=features).is_constant


def test_rows_that_mostly_repeat_themselves_span_as_many_axes_as_they_need():
    few, _ = make_features(n=6, d=200)
    places = torch.from_numpy(np.random.default_rng(0).integers(6, size=80))
    centred = few.double()[places] - few.double()[places].mean(0)
    found = spanned(centred)
    assert isinstance(found.space, TallSpace)
    assert found.space.n_coefficients == 5
    assert found.space.d_model == 200
    everything = torch.ones(80, dtype=torch.bool)
    np.testing.assert_allclose(found.space.inner_products(everything), centred @ centred.T, atol=1e-9)
    np.testing.assert_allclose(centred @ found.basis, found.space.coordinates, atol=1e-9)
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(5), atol=1e-9)
    variances = found.space.coordinates.T @ found.space.coordinates
    np.testing.assert_allclose(variances, np.diag(np.diag(variances)), atol=1e-9 * float(variances.max()))


def test_rows_of_which_more_than_half_differ_keep_their_inner_products():
    x, _ = make_features(n=80, d=200)
    assert isinstance(feature_space(torch.cat([x, x[:20]]), features="unit_rms"), WideSpace)


def test_a_row_that_is_not_finite_is_named():
    x, _ = make_features(n=20, d=4)
    x[7, 1], x[9, 0] = float("nan"), float("inf")
    with pytest.raises(MeasurementError, match=r"2 of 20 activations hold NaN or infinity \(first at row 7\)"):
        feature_space(x, features="unit_rms")


def test_a_single_row_is_an_error():
    with pytest.raises(MeasurementError, match="at least two rows"):
        feature_space(torch.ones(1, 4), features="unit_rms")

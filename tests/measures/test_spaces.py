import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from tests.measures.examples import make_features
from trustrace.core.errors import MeasurementError
from trustrace.measures.spaces import feature_space


@pytest.mark.parametrize(("n", "d"), [(40, 90), (90, 40), (60, 60)])
def test_coordinates_keep_every_inner_product_of_the_centred_features(n, d):
    x, _ = make_features(n=n, d=d)
    space = feature_space(x, features="scaled")
    centred = x.double().numpy() - x.double().numpy().mean(axis=0)
    z = space.coordinates.numpy()
    np.testing.assert_allclose(z @ z.T, centred @ centred.T, atol=1e-10)
    np.testing.assert_allclose(z.T @ z, np.diag(space.spectrum.numpy()), atol=1e-10)


def test_unit_rms_gives_every_statement_the_same_norm_before_centring():
    x, _ = make_features(n=50, d=30)
    scaled_rows = x * torch.logspace(-2, 2, 50)[:, None]
    torch.testing.assert_close(
        feature_space(scaled_rows, features="unit_rms").spectrum, feature_space(x, features="unit_rms").spectrum
    )


def test_zscore_uses_the_statistics_of_training_rows_alone():
    x, _ = make_features(n=80, d=20)
    train = torch.arange(80) < 50
    z = feature_space(x, features="zscore", train=train).coordinates.numpy()
    expected = StandardScaler().fit(x[train].double().numpy()).transform(x.double().numpy())
    expected -= expected.mean(axis=0)
    np.testing.assert_allclose(z @ z.T, expected @ expected.T, atol=1e-8)


def test_zscore_leaves_out_a_feature_that_is_constant_over_the_training_rows():
    x, _ = make_features(n=40, d=5)
    x[:30, 2] = 7.0
    z = feature_space(x, features="zscore", train=torch.arange(40) < 30).coordinates
    assert z.isfinite().all()
    assert z.shape[1] == 4


def test_zscore_without_training_rows_is_an_error():
    with pytest.raises(MeasurementError, match="need the training rows"):
        feature_space(make_features(n=10, d=3)[0], features="zscore")


def test_mean_variance_is_that_of_the_training_rows():
    x, _ = make_features(n=70, d=11)
    train = torch.from_numpy(np.random.default_rng(0).random((70, 3)) < 0.6)
    got = feature_space(x, features="scaled").mean_variance(train)
    expected = [x.double()[train[:, column]].var(dim=0, correction=0).mean().item() for column in range(3)]
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("features", ["unit_rms", "scaled"])
@pytest.mark.parametrize("fill", [0.0, 0.3])
def test_activations_that_do_not_differ_span_no_axis(features, fill):
    assert feature_space(torch.full((30, 12), fill), features=features).is_constant


def test_a_row_that_is_not_finite_is_named():
    x, _ = make_features(n=20, d=4)
    x[7, 1], x[9, 0] = float("nan"), float("inf")
    with pytest.raises(MeasurementError, match=r"2 of 20 activations hold NaN or infinity \(first at row 7\)"):
        feature_space(x, features="unit_rms")


def test_a_single_row_is_an_error():
    with pytest.raises(MeasurementError, match="at least two rows"):
        feature_space(torch.ones(1, 4), features="unit_rms")

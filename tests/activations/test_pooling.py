import pytest
import torch

from trustrace.activations.encoding import Encoding
from trustrace.activations.pooling import Pooling

PATHS = [(0, 1, 2), (0, 1, 5, 6), (8,)]
ENCODINGS = [Encoding((0,) * 3, 1, 3), Encoding((0,) * 4, 1, 3), Encoding((0,), 0, 1)]


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("first", [[1, -1], [1, -1], [8, -8]]),
        ("last", [[2, -2], [5, -5], [8, -8]]),
        ("mean", [[1.5, -1.5], [3, -3], [8, -8]]),
        ("max", [[2, -1], [5, -1], [8, -8]]),
    ],
)
def test_only_the_tokens_that_are_read_make_up_a_vector(position, expected):
    residual = torch.stack([torch.arange(12.0), -torch.arange(12.0)], dim=1).reshape(2, 6, 2)
    pooling = Pooling.of(PATHS, ENCODINGS, position=position, device=torch.device("cpu"))
    assert pooling(residual).tolist() == expected


def test_a_mean_is_accumulated_in_float32_whatever_the_model_computes_in():
    residual = torch.tensor([[[256.0], [1.0], [1.0], [1.0]]], dtype=torch.bfloat16)
    pooling = Pooling.of([range(4)], [Encoding((0,) * 4, 0, 4)], position="mean", device=torch.device("cpu"))
    assert pooling(residual).dtype == torch.float32
    assert pooling(residual).item() == 259 / 4

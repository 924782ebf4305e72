import math

import pytest
import torch

from tests.steering.examples import make_vector
from trustrace.core.errors import ConfigError, MeasurementError, ModelError
from trustrace.models import tiny
from trustrace.models.fingerprints import tokenizer_fingerprint
from trustrace.steering.fit import require_fit
from trustrace.steering.vectors import UNITS, Scales, Unit


def test_a_vector_names_what_it_is() -> None:
    vector = make_vector(dataset="reliability/defined")
    assert vector.key == "mass_mean:reliability/defined@toy@step_0000100:block_1"


@pytest.mark.parametrize(
    ("unit", "length"),
    [("distance", 2.0), ("within_std", 0.5), ("projection_std", 1.25), ("residual_norm", 40.0), ("one", 1.0)],
)
def test_a_strength_of_one_is_as_long_as_its_unit(unit: Unit, length: float) -> None:
    vector = make_vector(torch.tensor([3.0, 4.0, 0.0]))
    assert torch.allclose(vector.scaled(unit), torch.tensor([0.6, 0.8, 0.0]) * length)
    assert unit in UNITS


@pytest.mark.parametrize("length", [0.0, math.nan, math.inf])
def test_a_unit_of_no_length_measures_nothing_out(length: float) -> None:
    scales = Scales(distance=length, within_std=1.0, projection_std=1.0, residual_norm=1.0)
    with pytest.raises(MeasurementError, match=r"distance is .* take another unit"):
        make_vector(scales=scales).scaled("distance")


@pytest.mark.parametrize("entry", [1.2, math.nan, math.inf])
def test_a_direction_has_length_one(entry: float) -> None:
    with pytest.raises(MeasurementError, match="of length 1"):
        make_vector(direction=torch.tensor([entry, 0.0, 0.0, 0.0]), d_model=4)


def test_a_direction_has_as_many_entries_as_it_says() -> None:
    with pytest.raises(MeasurementError, match="8 entries, but d_model is 9"):
        make_vector(d_model=9)


def test_a_vector_stands_at_a_site() -> None:
    with pytest.raises(ConfigError, match="unknown site 'layer_3'"):
        make_vector(site="layer_3")


TARGET = {"model_type": "llama", "d_model": 8, "n_blocks": 3, "tokenizer": "t" * 64}


def test_a_vector_fits_the_model_it_comes_from() -> None:
    require_fit(make_vector(), **TARGET)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message", "remedy"),
    [
        ({"d_model": 16}, "it is 8 wide, the model 16", None),
        ({"n_blocks": 1}, "the model has no block_1", None),
        ({"model_type": "gpt2"}, "from architecture 'llama', the model is 'gpt2'", "architecture"),
        ({"n_blocks": 7}, "from a model of 3 blocks, this one has 7", "architecture"),
        ({"tokenizer": "u" * 64}, "another vocabulary", "tokenizer"),
    ],
)
def test_what_does_not_fit_is_named_and_only_knowledge_overrides_it(
    change: dict[str, object], message: str, remedy: str | None
) -> None:
    target = TARGET | change
    with pytest.raises(ModelError, match=message):
        require_fit(make_vector(), **target)  # type: ignore[arg-type]
    if remedy:
        require_fit(make_vector(), **target, allow=(remedy,))  # type: ignore[arg-type]
    else:
        with pytest.raises(ModelError, match=message):
            require_fit(make_vector(), **target, allow=("architecture", "tokenizer"))  # type: ignore[arg-type]


def test_all_that_does_not_fit_is_said_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        require_fit(make_vector(), model_type="gpt2", d_model=4, n_blocks=1, tokenizer="u" * 64)
    for part in ("8 wide", "no block_1", "architecture 'llama'", "another vocabulary"):
        assert part in str(caught.value)


def test_what_is_unknown_is_not_compared() -> None:
    require_fit(make_vector(model_type="", tokenizer="", n_blocks=0), **TARGET)  # type: ignore[arg-type]


def test_every_model_has_an_embedding_and_a_final_norm() -> None:
    for site in ("embed", "final_norm"):
        require_fit(make_vector(site=site), **TARGET)  # type: ignore[arg-type]


def test_equal_vocabularies_have_one_fingerprint_and_others_another() -> None:
    one, other = tiny.tokenizer(), tiny.tokenizer(adds_bos=True)
    merged = tiny.tokenizer(texts=["the cat and the hat"] * 4, vocab_size=270)
    assert tokenizer_fingerprint(one) == tokenizer_fingerprint(other)
    assert tokenizer_fingerprint(one) != tokenizer_fingerprint(merged)
    assert len(tokenizer_fingerprint(one)) == 64

"""Divergence of versions of a model from one of them, against scipy and by its laws."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from tests.evaluation.harness.versions import random_model, versions
from trustrace.core.errors import AlignmentError, ConfigError
from trustrace.evaluation.divergence import _kl, divergences
from trustrace.models.likelihood import encode_pair

TEXTS = [
    ("A dog ran", " after a cat."),
    ("A dog ran", " away"),
    ("Where is the cat?", " Up a tree, I think."),
    ("", "b"),
]
GROUPS = ("dog", "dog", "cat", "b")
ALPHAS = (2.0, 0.0, 0.1)


@pytest.fixture(params=["llama", "gpt2"])
def model(request):
    return random_model(request.param, adds_bos=request.param == "llama")


def probabilities(model, prompt, continuation):
    """Second author: the distributions before each token of the continuation, from one plain pass in float64."""
    with torch.no_grad():
        logits = model.module(torch.tensor([[*prompt, *continuation]])).logits[0].double()
    return logits[len(prompt) - 1 : -1].softmax(-1).numpy()


def steered(model, alpha, prompt, continuation):
    """The hook of :func:`versions`, written again without a layout."""
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(5))
    handle = model.anatomy.blocks[1].register_forward_hook(lambda module, args, output: output + alpha * vector)
    try:
        return probabilities(model, prompt, continuation)
    finally:
        handle.remove()


def test_both_directions_are_those_of_scipy(model):
    pairs = [encode_pair(model, *text) for text in TEXTS]
    with versions(model, ALPHAS) as several:
        found = divergences(several, pairs, reference=1, groups=GROUPS)
    for alpha, (forward, reverse) in zip(ALPHAS, found, strict=True):
        for row, pair in enumerate(pairs):
            p, q = steered(model, alpha, *pair), steered(model, 0.0, *pair)
            assert forward.values[row, 0] == pytest.approx(entropy(p, q, axis=1).mean(), rel=1e-3, abs=1e-9)
            assert reverse.values[row, 0] == pytest.approx(entropy(q, p, axis=1).mean(), rel=1e-3, abs=1e-9)
    assert (found[0][0].quantity, found[0][1].quantity) == ("kl", "kl_reverse")
    assert found[0][0].groups == GROUPS


def test_the_reference_is_at_zero_and_a_stronger_vector_further_away(model):
    pairs = [encode_pair(model, *text) for text in TEXTS]
    with versions(model, ALPHAS) as several:
        strong, same, weak = (forward.values for forward, _ in divergences(several, pairs, reference=1, groups=GROUPS))
    np.testing.assert_array_equal(same, 0)
    assert (strong > weak).all()
    assert (weak > 0).all()


def test_the_batch_changes_nothing(model):
    pairs = [encode_pair(model, *text) for text in TEXTS]
    with versions(model, ALPHAS) as several:
        whole = divergences(several, pairs, reference=0, groups=GROUPS)
        single = divergences(several, pairs, reference=0, groups=GROUPS, batch_tokens=1)
    for one, other in zip(whole, single, strict=True):
        np.testing.assert_allclose(one[0].values, other[0].values, rtol=1e-4, atol=1e-7)


def test_a_token_that_is_never_said_costs_nothing():
    log_p = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64).log()
    log_q = torch.tensor([[0.25, 0.75, 0.0]], dtype=torch.float64).log()
    assert float(_kl(log_p, log_q)) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert float(_kl(log_p, torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64).log())) == float("inf")


def test_a_reference_that_is_not_there_is_refused(model):
    pairs = [encode_pair(model, *TEXTS[0])]
    with pytest.raises(ConfigError, match="the model has 1"):
        divergences(model, pairs, reference=1, groups=("a",))
    with pytest.raises(AlignmentError, match="1 pairs but 2 groups"):
        divergences(model, pairs, reference=0, groups=("a", "b"))

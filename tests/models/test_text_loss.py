"""The loss on the fixed text: transformers' own, whatever the window, and none where the text cannot be written."""

import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from trustrace.models import text_loss as module_under_test
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.text_loss import fixed_text, text_loss


def words(*known: str, unknown: str | None = None) -> PreTrainedTokenizerBase:
    """A tokenizer that knows a few words alone."""
    vocabulary = {word: place for place, word in enumerate([*known, *([unknown] if unknown else [])])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown or "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token=unknown)


@pytest.mark.parametrize("family", ["gpt_neox", "bloom", "gemma2"])
def test_it_is_the_loss_of_transformers_in_nats_per_byte(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second opinion: `labels` give the mean over all tokens but the first, here in one window."""
    monkeypatch.setattr(module_under_test, "WINDOW", 400)
    monkeypatch.setattr(module_under_test, "fixed_text", lambda: "To be, or not to be: that is the question. ÄÖÜ € 42")
    model = LanguageModel.of(tiny.build(family), tiny.tokenizer())
    text = module_under_test.fixed_text()
    ids = torch.tensor([model.tokenizer(text).input_ids])
    with torch.no_grad():
        per_token = float(model.module(input_ids=ids, labels=ids).loss)
    measured = text_loss(model)
    assert measured is not None
    assert measured.loss == pytest.approx(per_token * ids.numel() / len(text.encode()), rel=1e-5)
    assert measured.uniform == pytest.approx(math.log(258) * ids.numel() / len(text.encode()))


def test_windows_are_read_by_themselves_and_no_token_is_counted_twice() -> None:
    model = LanguageModel.of(tiny.build("llama"), tiny.tokenizer())
    ids = torch.tensor(model.tokenizer(fixed_text()).input_ids)
    losses = []
    for window in ids.split(module_under_test.WINDOW):
        with torch.no_grad():
            logits = model.module(input_ids=window[None]).logits[0, :-1].double()
        losses.append(-logits.log_softmax(-1)[range(len(window) - 1), window[1:]])
    measured = text_loss(model)
    assert measured is not None
    # Every byte is a token of this tokenizer.
    assert measured.loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)


def test_a_short_context_is_kept_to() -> None:
    module = tiny.build("gpt2")
    module.config.n_positions = module.config.max_position_embeddings = 16
    assert text_loss(LanguageModel.of(module, tiny.tokenizer())) is not None


def test_an_untrained_model_has_about_the_loss_of_equally_likely_tokens() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = type(tiny.build("llama"))(tiny.config("llama"))
    measured = text_loss(LanguageModel.of(fresh, tiny.tokenizer()))
    assert measured is not None
    assert measured.loss == pytest.approx(measured.uniform, rel=0.01)


def test_a_text_of_unknown_tokens_has_no_loss() -> None:
    module = tiny.build("llama")
    for tokenizer in (
        words("the", "river", unknown="<unk>"),
        words("the", "river"),
        tiny.tokenizer(texts=[fixed_text()], vocab_size=300),
    ):
        assert text_loss(LanguageModel.of(module, tokenizer)) is None


def test_a_vocabulary_of_two_tokens_breaks_nothing() -> None:
    module = tiny.build("llama", vocab_size=2)
    assert text_loss(LanguageModel.of(module, words("the", unknown="<unk>"))) is None


def test_the_loss_of_a_model_in_half_precision_is_finite_and_close() -> None:
    module = tiny.build("gpt_neox")
    whole = text_loss(LanguageModel.of(module, tiny.tokenizer()))
    half = text_loss(LanguageModel.of(module.bfloat16(), tiny.tokenizer()))
    assert whole is not None
    assert half is not None
    assert half.loss == pytest.approx(whole.loss, rel=0.01)

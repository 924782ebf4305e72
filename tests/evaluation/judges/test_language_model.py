"""A local model as a judge, against its own logits read by hand."""

import numpy as np
import pytest
import torch

from trustrace.core.errors import ConfigError
from trustrace.evaluation.judges.judge import Answered, Judge
from trustrace.evaluation.judges.language_model import LanguageModelJudge
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel

PAIRS = [
    Answered("What is it?", "A cat."),
    Answered("What is it?", ""),
    Answered("Who goes there in the night?", "I do.\nNot you."),
]
TEXTS = ["Q: is it? yes\nA: no yes\nTrue: yes\nHelpful: no"] * 30


def model_of(family, *, merges, adds_bos=False):
    vocabulary = 300 if merges else 258
    tokenizer = tiny.tokenizer(adds_bos=adds_bos, texts=TEXTS if merges else (), vocab_size=vocabulary)
    return LanguageModel.of(tiny.build(family, vocab_size=vocabulary), tokenizer)


@pytest.mark.parametrize(
    ("family", "merges", "adds_bos"), [("llama", True, True), ("gpt_neox", True, False), ("llama", False, True)]
)
@pytest.mark.parametrize(("aspect", "end"), [("truth", "True:"), ("info", "Helpful:")])
def test_it_says_what_the_logits_after_the_prompt_say_of_yes_and_no(family, merges, adds_bos, aspect, end):
    model = model_of(family, merges=merges, adds_bos=adds_bos)
    judge = LanguageModelJudge(model=model, aspect=aspect, name="tiny", least_mass=0.0)
    expected = []
    for pair in PAIRS:
        prompt = model.tokenizer(f"Q: {pair.question}\nA: {pair.answer}\n{end}").input_ids
        totals = []
        for word in (" yes", " no"):
            continuation = model.tokenizer(word, add_special_tokens=False).input_ids
            assert (len(continuation) == 1) == merges
            with torch.no_grad():
                logits = model.module(torch.tensor([[*prompt, *continuation]])).logits[0].double().log_softmax(-1)
            totals.append(sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(continuation)))
        yes, no = np.exp(totals)
        expected.append(yes / (yes + no))
    np.testing.assert_allclose(judge.probabilities(PAIRS), expected, atol=1e-5)
    assert np.std(expected) > 1e-4
    assert isinstance(judge, Judge)


def test_a_pair_that_is_too_long_is_not_judged_and_the_others_are():
    model = model_of("gpt_neox", merges=True)
    judge = LanguageModelJudge(model=model, aspect="truth", name="tiny", least_mass=0.0)
    said = judge.probabilities([PAIRS[0], Answered("What?", "word " * model.max_tokens)])
    assert np.isnan(said).tolist() == [False, True]
    np.testing.assert_allclose(said[0], judge.probabilities(PAIRS[:1])[0], atol=1e-6)
    assert np.isnan(judge.probabilities([Answered("What?", "word " * model.max_tokens)])).all()
    assert len(judge.probabilities([])) == 0


def leaning(towards: float) -> LanguageModel:
    """A model whose next word is " yes" or " no" so many nats more often than by chance."""
    model = model_of("gpt_neox", merges=True)
    words = [model.tokenizer(word, add_special_tokens=False).input_ids[0] for word in (" yes", " no")]
    head = model.module.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[words] = towards
    head.bias = torch.nn.Parameter(bias)
    return model


def test_a_model_that_says_neither_yes_nor_no_has_no_verdict():
    def verdicts(model):
        return LanguageModelJudge(model=model, aspect="truth", name="tiny").probabilities(PAIRS)

    assert np.isnan(verdicts(leaning(0.0))).all()
    trained = LanguageModelJudge(model=leaning(0.0), aspect="truth", name="tiny", least_mass=0.0)
    np.testing.assert_allclose(verdicts(leaning(9.0)), trained.probabilities(PAIRS), atol=1e-5)


def test_a_model_of_several_versions_is_no_judge():
    model = model_of("llama", merges=True)
    several = LanguageModel(
        module=model.module, tokenizer=model.tokenizer, checkpoint=model.checkpoint, anatomy=model.anatomy, variants=3
    )
    with pytest.raises(ConfigError, match="3 versions"):
        LanguageModelJudge(model=several, aspect="truth", name="tiny")

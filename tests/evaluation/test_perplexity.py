"""Perplexities against the harness, against a loss of transformers, and against sums written by hand."""

import copy
import json
from dataclasses import replace

import lm_eval
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tests.evaluation.harness.versions import random_model, stories, versions
from trustrace.core.errors import ConfigError, DataError
from trustrace.datasets import lambada
from trustrace.evaluation.harness.undisturbed import undisturbed
from trustrace.evaluation.outcomes import Task
from trustrace.evaluation.perplexity import (
    LambadaLastWord,
    LambadaText,
    TextPerplexity,
    half_of,
    windows,
)
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel


def number(graded):
    losses, counts = graded.values.T
    return float(np.exp(losses.sum() / counts.sum()))


def log_probs(model, tokens):
    """Second author: one forward pass, ln p of every token after the first, in float64."""
    with torch.no_grad():
        logits = model.module(torch.tensor([tokens])).logits[0].double()
    table = logits.log_softmax(-1)
    return [float(table[place, token]) for place, token in enumerate(tokens[1:])]


def test_they_are_tasks(tmp_path):
    tasks = [LambadaLastWord(), LambadaText(), TextPerplexity(path=tmp_path / "a.txt")]
    assert all(isinstance(task, Task) for task in tasks)
    assert [task.name for task in tasks] == ["lambada_last_word", "lambada_text", "text:a.txt"]


def harness_lambada(model, rows, folder):
    """The harness's own lambada_openai on local rows."""
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    shipped = lm_eval.tasks.__file__.replace("__init__.py", "lambada/lambada_openai.yaml")
    definition = {
        "include": shipped,
        "task": "lambada_openai",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}, "cache_dir": str(folder / "cache")},
    }
    (folder / "lambada.yaml").write_text(json.dumps(definition))
    with undisturbed():
        tasks = TaskManager(include_path=str(folder), include_defaults=False).load(["lambada_openai"])
        plain = HFLM(pretrained=model.module, tokenizer=copy.deepcopy(model.tokenizer), batch_size=4)
        return lm_eval.evaluate(lm=plain, task_dict=tasks, bootstrap_iters=0)


def test_last_words_score_as_in_the_harness(data_dir, tmp_path):
    model = stories(data_dir)
    (outcome,) = LambadaLastWord(limit=40, data_dir=data_dir).run(model)
    texts = lambada.passages(data_dir=data_dir)
    theirs = harness_lambada(model, [texts[sample["passage"]] for sample in outcome.samples], tmp_path)
    perplexity, accuracy = outcome.graded
    scores = theirs["results"]["lambada_openai"]
    assert number(perplexity) == pytest.approx(scores["perplexity,none"], rel=1e-4)
    assert accuracy.values.mean() == scores["acc,none"]
    each = [sample["perplexity"] for sample in theirs["samples"]["lambada_openai"]]
    np.testing.assert_allclose(-perplexity.values[:, 0], each, atol=1e-4)


def test_a_passage_that_is_too_long_is_cut_as_in_the_harness_and_counted(tmp_path, monkeypatch):
    model = random_model("gpt2", adds_bos=False)
    texts = ("short and sweet", "very long " * 80 + "word")
    monkeypatch.setattr(lambada, "passages", lambda data_dir: texts)
    (outcome,) = LambadaLastWord().run(model)
    theirs = harness_lambada(model, texts, tmp_path)["samples"]["lambada_openai"]
    np.testing.assert_allclose(-outcome.graded[0].values[:, 0], [sample["perplexity"] for sample in theirs], atol=1e-4)
    assert "1 of 2 passages lost their beginning to fit 512 tokens" in outcome.graded[0].note


def test_the_perplexity_of_passages_is_that_of_the_loss_of_transformers(data_dir):
    model = stories(data_dir)
    (outcome,) = LambadaText(limit=8, data_dir=data_dir).run(model)
    texts = lambada.passages(data_dir=data_dir)
    losses, counts = 0.0, 0
    for sample in outcome.samples:
        tokens = torch.tensor([model.tokenizer(texts[sample["passage"]]).input_ids])
        assert tokens[0, 0] == model.tokenizer.bos_token_id
        with torch.no_grad():
            losses += float(model.module(tokens, labels=tokens).loss) * (tokens.shape[1] - 1)
        counts += tokens.shape[1] - 1
    assert number(outcome.graded[0]) == pytest.approx(np.exp(losses / counts), rel=1e-4)
    assert outcome.graded[0].values[:, 1].sum() == counts


def test_each_token_of_a_text_is_scored_after_the_context_that_is_promised(tmp_path):
    model = random_model("llama", adds_bos=True)
    text = "A dog ran after a cat, and the cat ran up a tree. There it sat until the evening came."
    (tmp_path / "text.txt").write_text(text)
    (outcome,) = TextPerplexity(path=tmp_path / "text.txt", width=20).run(model)
    tokens = model.tokenizer(text, add_special_tokens=False).input_ids
    total = 0.0
    for place in range(len(tokens)):
        # 19 tokens after the first BOS; then ten new ones at a time, after nine old ones and a BOS of their own.
        step = 0 if place < 19 else 1 + (place - 19) // 10
        start = 0 if step == 0 else 19 + 10 * (step - 1) - 9
        total -= log_probs(model, [model.tokenizer.bos_token_id, *tokens[start : place + 1]])[-1]
    assert number(outcome.graded[0]) == pytest.approx(np.exp(total / len(tokens)), rel=1e-5)
    assert list(outcome.graded[0].values[:3, 1]) == [19, 10, 10]


def test_without_a_beginning_of_sequence_token_the_first_token_is_context_alone(tmp_path):
    model = random_model("gpt2", adds_bos=False)
    bare = copy.deepcopy(model.tokenizer)
    bare.bos_token = None
    model = type(model).of(model.module, bare)
    (tmp_path / "text.txt").write_text("A dog ran after a cat.")
    (outcome,) = TextPerplexity(path=tmp_path / "text.txt").run(model)
    scores = log_probs(model, bare("A dog ran after a cat.").input_ids)
    assert number(outcome.graded[0]) == pytest.approx(np.exp(-np.mean(scores)), rel=1e-5)
    assert "begin with a token of the text" in outcome.graded[0].note


@given(n=st.integers(0, 300), width=st.integers(8, 40), has_bos=st.booleans())
def test_windows_score_every_token_once_after_half_a_window_at_least(n, width, has_bos):
    tokens = list(range(n))
    scored = []
    for place, window in enumerate(windows(tokens, bos=-1 if has_bos else None, width=width)):
        whole = window.prompt + window.continuation
        assert len(whole) <= width
        assert len(window.prompt) == 1
        assert (whole[0] == -1) == has_bos
        text = whole[has_bos:]
        assert text == tuple(range(text[0], text[0] + len(text)))
        if place:
            assert len(whole) - window.scored >= width // 2
        scored += whole[-window.scored :]
    assert scored == tokens[0 if has_bos else 1 :]


@given(st.text(alphabet="ab \n", max_size=60))
def test_halves_of_a_text_are_all_of_it_and_share_nothing(text):
    first, second = half_of(text, "test"), half_of(text, "development")
    assert first + second == text
    assert first.count("a") + second.count("a") == text.count("a")
    if len(text.split()) > 1 and text[len(text) // 2 :].split()[1:]:
        assert first
        assert second.strip()


def test_a_half_is_cut_behind_a_line_else_behind_a_word():
    lines = "one two\nthree four\nfive six\nseven\n"
    assert half_of(lines, "test") == "one two\nthree four\n"
    assert half_of(lines, "development") == "five six\nseven\n"
    assert [half_of("a long way to the sea\n", half) for half in ("test", "development")] == [
        "a long way to ",
        "the sea\n",
    ]
    assert [half_of("abcd", half) for half in ("test", "development")] == ["ab", "cd"]


def test_each_half_of_a_text_is_read_as_a_text_of_its_own(tmp_path):
    model = random_model("llama", adds_bos=True)
    text = "A dog ran after a cat.\nAnd the cat ran up a tree, where it sat.\nThere it sat until the evening came.\n"
    (tmp_path / "text.txt").write_text(text)
    for half in ("test", "development"):
        (tmp_path / f"{half}.txt").write_text(half_of(text, half))
        (found,) = TextPerplexity(path=tmp_path / "text.txt", width=20, half=half).run(model)
        (alone,) = TextPerplexity(path=tmp_path / f"{half}.txt", width=20).run(model)
        np.testing.assert_array_equal(found.graded[0].values, alone.graded[0].values)
        assert f"per token of the {half} half of the text" in found.graded[0].note
        (few,) = TextPerplexity(path=tmp_path / "text.txt", width=20, half=half, limit=25).run(model)
        assert few.graded[0].values[:, 1].sum() == 25
        np.testing.assert_allclose(few.graded[0].values[0], found.graded[0].values[0], rtol=1e-5)


def test_a_steered_version_is_changed_in_the_whole_text_and_the_others_not(tmp_path):
    model = random_model("llama", adds_bos=True)
    (tmp_path / "text.txt").write_text("A dog ran after a cat, and the cat ran up a tree. " * 3)
    task = TextPerplexity(path=tmp_path / "text.txt", width=24)
    (plain,) = task.run(model)
    with versions(model, [1.5, 0.0]) as several:
        steered, unsteered = task.run(several)
    np.testing.assert_allclose(unsteered.graded[0].values, plain.graded[0].values, rtol=1e-5)
    assert (np.abs(steered.graded[0].values[:, 0] - plain.graded[0].values[:, 0]) > 0.01).all()


@pytest.mark.parametrize(
    ("length", "width", "expected"),
    [
        (0, None, None),
        (300, None, "the instruction of 300 tokens makes the windows 300 tokens shorter than without it"),
        (300, 100, "the instruction of 300 tokens makes the windows 0 tokens shorter than without it"),
    ],
)
def test_the_note_says_how_much_an_instruction_shortens_the_windows(tmp_path, length, width, expected):
    model = random_model("llama", adds_bos=True)
    (tmp_path / "text.txt").write_text("A dog ran after a cat. " * 30)
    told = replace(model, preamble=(40,) * length)
    (outcome,) = TextPerplexity(path=tmp_path / "text.txt", width=width).run(told)
    note = outcome.graded[0].note
    assert f"windows of {width or 512 - length} tokens" in note
    assert expected in note if expected else "instruction" not in note


def test_an_instruction_shortens_windows_only_by_what_a_long_context_has_no_room_for(tmp_path):
    model = LanguageModel.of(tiny.build("llama"), tiny.tokenizer(adds_bos=True))
    (tmp_path / "text.txt").write_text("A dog ran.")
    for room, shorter in [(300, 0), (100, 200)]:
        model.module.config.max_position_embeddings = model.tokenizer.model_max_length = 2048 + room
        (outcome,) = TextPerplexity(path=tmp_path / "text.txt").run(replace(model, preamble=(40,) * 300))
        assert f"the windows {shorter} tokens shorter" in outcome.graded[0].note


def test_passages_and_last_words_are_noted_to_have_been_read_after_an_instruction(monkeypatch):
    monkeypatch.setattr(lambada, "passages", lambda data_dir: ("short and sweet",))
    model = random_model("llama", adds_bos=True)
    for task in (LambadaText(), LambadaLastWord()):
        notes = [task.run(one)[0].graded[0].note for one in (model, replace(model, preamble=(40,) * 30))]
        assert ["the instruction of 30 tokens" in note for note in notes] == [False, True]


def test_unknown_tokens_are_counted(tmp_path, data_dir):
    (tmp_path / "text.txt").write_text("a <unk> dog <unk> ran")
    (outcome,) = TextPerplexity(path=tmp_path / "text.txt").run(stories(data_dir))
    assert "; 2 of " in outcome.graded[0].note
    assert outcome.graded[0].note.endswith("tokens unknown to the tokenizer")


def test_numbers_of_a_real_model_are_as_they_were(data_dir):
    """Measured with transformers 5.23 on stories260K: small stories are all it knows."""
    model = stories(data_dir)
    (last,) = LambadaLastWord(limit=50, data_dir=data_dir).run(model)
    (passages,) = LambadaText(limit=50, data_dir=data_dir).run(model)
    (text,) = TextPerplexity(path=data_dir / "corpora/tinyshakespeare/input.txt", limit=4000).run(model)
    (wiki,) = TextPerplexity(path=data_dir / "corpora/wikitext2/valid.txt", limit=4000).run(model)
    found = {outcome.dataset: round(number(outcome.graded[0]), 2) for outcome in (last, passages, text, wiki)}
    assert found == pytest.approx(GOLDEN, rel=2e-3)


GOLDEN = {
    "lambada_last_word": 17578062.97,
    "lambada_text": 20.29,
    "text:input.txt": 64.75,
    "text:valid.txt": 206.81,
}


def test_a_story_of_its_own_kind_is_far_less_of_a_surprise(data_dir, tmp_path):
    story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball."
    (tmp_path / "story.txt").write_text(story)
    words = story.split()
    (tmp_path / "shuffled.txt").write_text(" ".join(np.random.default_rng(0).permutation(words)))
    told, shuffled = (
        number(TextPerplexity(path=tmp_path / name).run(stories(data_dir))[0].graded[0])
        for name in ("story.txt", "shuffled.txt")
    )
    assert told < 2 < 20 < shuffled


def test_what_cannot_be_read_is_refused(tmp_path):
    model = random_model("llama", adds_bos=True)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for name, message in [("empty.txt", "0 tokens"), ("latin.txt", "not UTF-8 at byte 3"), ("none.txt", "no such")]:
        with pytest.raises(DataError, match=message):
            TextPerplexity(path=tmp_path / name).run(model)
    with pytest.raises(ConfigError, match="reads 8 to 512"):
        TextPerplexity(path=tmp_path / "empty.txt", width=513).run(model)
    with pytest.raises(ConfigError, match="limit is 0"):
        LambadaText(limit=0).run(model)

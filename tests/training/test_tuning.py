"""A tuned model is a checkpoint that answers; what it was not to learn it did not see."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError, DataError, RunError
from trustrace.datasets.corpora import is_held_out
from trustrace.models import tiny
from trustrace.models.generation import Decoding, generate
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import Pair, encode_pair, likelihoods
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.training.exchanges import Exchange
from trustrace.training.tuning import RECORD, _adamw, tune
from trustrace.training.tuning_config import TuneConfig

ANSWERS = {"a": " yes", "b": " no"}


def exchanges(count: int = 60) -> list[Exchange]:
    """The answer depends on the letter before the colon; some prompts are much longer than others."""
    rng = generator(0, "exchanges")
    drawn = [("ab"[int(rng.integers(2))], "xyz" * int(rng.integers(1, 5)), place) for place in range(count)]
    return [Exchange(prompt=f"{place} {noise} {key}:", answer=ANSWERS[key]) for key, noise, place in drawn]


def recipe(**changes: object) -> TuneConfig:
    optimizer = {"learning_rate": 1e-2, "warmup_steps": 5}
    values = {"steps": 60, "batch": 8, "optimizer": optimizer, "held_out": 0.3, "check_every": 10}
    return TuneConfig.read(values | changes, where="a test")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_series(tmp_path_factory.mktemp("base") / "run", "llama", steps=(0, 40))


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune(base, exchanges(), config=recipe(), out=tmp_path_factory.mktemp("tuned") / "model", device="cpu")


def opened(folder: Path) -> LanguageModel:
    source = open_source(str(folder))
    return load(source, source.checkpoints()[-1])


def pairs_in(model: LanguageModel, chosen: list[Exchange]) -> list[Pair]:
    end = model.tokenizer.eos_token_id
    return [(prompt, (*answer, end)) for prompt, answer in (encode_pair(model, e.prompt, e.answer) for e in chosen)]


def held_out_loss_of(model: LanguageModel, chosen: list[Exchange]) -> float:
    """One exchange at a time, by the likelihoods of evaluation."""
    pairs = pairs_in(model, chosen)
    return float(-np.concatenate([one.log_probs for one in likelihoods(model, pairs)[0]]).mean())


def record_of(folder: Path) -> dict[str, dict[str, float]]:
    record: dict[str, dict[str, float]] = json.loads((folder / RECORD).read_text())
    return record


def held_out(chosen: list[Exchange], fraction: float = 0.3) -> list[Exchange]:
    return [one for one in chosen if is_held_out(one.group or one.prompt or one.answer, fraction=fraction)]


def test_the_tuned_model_answers_unseen_prompts_and_stops(tuned: Path) -> None:
    unseen = held_out(exchanges())
    said = generate(opened(tuned), [one.prompt for one in unseen], decoding=Decoding(max_new_tokens=8))[0]
    assert {one.ending for one in said} == {"eos"}
    assert np.mean([one.text == exchange.answer for one, exchange in zip(said, unseen, strict=True)]) > 0.9


def test_the_recorded_loss_is_that_of_the_held_out_answers_alone(base: Path, tuned: Path) -> None:
    losses = record_of(tuned)["held_out_loss"]
    unseen = held_out(exchanges())
    assert 0 < len(unseen) < 60
    assert losses["0"] == pytest.approx(held_out_loss_of(opened(base), unseen), rel=1e-4)
    assert min(losses.values()) == pytest.approx(held_out_loss_of(opened(tuned), unseen), rel=1e-4)
    assert min(losses.values()) < losses["0"] / 5


def test_the_loss_ignores_prompts_and_padding(base: Path, tmp_path: Path) -> None:
    """Adam's first update moves each weight against the sign of its gradient: here, of the loss that transformers itself computes."""
    few = exchanges(12)
    seen = [one for one in few if one not in held_out(few)]
    optimizer = {"learning_rate": 1e-4, "floor": 1e-4, "weight_decay": 0.0}
    config = recipe(steps=1, batch=len(seen), optimizer=optimizer)
    out = tune(base, few, config=config, out=tmp_path / "one", device="cpu")
    module = AutoModelForCausalLM.from_pretrained(base / "checkpoints" / "step_0000040", dtype=torch.float32)
    model = LanguageModel.of(module, opened(base).tokenizer)
    losses, counts = [], []
    for one in seen:
        prompt, answer = encode_pair(model, one.prompt, one.answer)
        answer = (*answer, model.tokenizer.eos_token_id)
        labels = torch.tensor([[-100] * len(prompt) + list(answer)])
        losses.append(module(input_ids=torch.tensor([prompt + answer]), labels=labels).loss * len(answer))
        counts.append(len(answer))
    torch.autograd.backward(torch.stack(losses).sum() / sum(counts))
    moved = opened(out).module.state_dict()
    for name, weight in module.named_parameters():
        assert weight.grad is not None
        clear = weight.grad.abs() > weight.grad.abs().max() / 10
        assert torch.equal((moved[name] - weight).sign()[clear], -weight.grad.sign()[clear]), name


def test_it_opens_as_a_checkpoint_that_stands_after_its_source(base: Path, tuned: Path) -> None:
    checkpoint = open_source(str(tuned)).checkpoints()[0]
    kept = int(record_of(tuned)["kept_step"])  # type: ignore[call-overload]
    assert checkpoint.step == 40 + kept
    assert checkpoint.tokens_seen is not None
    assert checkpoint.tokens_seen > 40_000 + kept * 8
    source = open_source(str(base))
    assert record_of(tuned)["tuned_from"]["commit"] == source.pin(source.checkpoints()[-1]).commit


def test_the_weights_kept_are_the_best_and_patience_ends_the_rest(base: Path, tmp_path: Path) -> None:
    config = recipe(steps=100, check_every=5, patience=2)
    out = tune(base, noise(40), config=config, out=tmp_path / "noise", device="cpu")
    losses = {int(step): loss for step, loss in record_of(out)["held_out_loss"].items()}
    best = min(losses, key=lambda step: losses[step])
    assert record_of(out)["kept_step"] == best
    assert max(losses) == best + 2 * 5
    assert held_out_loss_of(opened(out), held_out(noise(40))) == pytest.approx(losses[best], rel=1e-4)


def rehearsed(count: int) -> list[Exchange]:
    """Texts without a prompt that can be learned: they go on becoming likelier."""
    return [
        Exchange(prompt="", answer=f"{'the sea is deep and ' * 2}{'abc'[place % 3]} {place}") for place in range(count)
    ]


def noise(count: int) -> list[Exchange]:
    """Answers that cannot be guessed: to learn some makes the others less likely."""
    return [Exchange(prompt=f"{i}:", answer=f" {generator(i, 'noise').integers(10**6)}") for i in range(count)]


def test_what_was_asked_decides_and_what_is_rehearsed_is_only_looked_at(base: Path, tmp_path: Path) -> None:
    said, texts = noise(20), rehearsed(30)
    config = recipe(steps=70, batch=16, check_every=5, patience=3)
    out = tune(base, [*said, *texts], config=config, out=tmp_path / "both", device="cpu")
    record: dict[str, Any] = json.loads((out / RECORD).read_text())
    losses = {int(step): loss for step, loss in record["held_out_loss"].items()}
    documents = {int(step): loss for step, loss in record["held_out_loss_documents"].items()}
    unseen, beside = held_out(said), held_out(texts)
    kept = record["kept_step"]
    assert kept == min(losses, key=lambda step: losses[step])
    assert losses.keys() == documents.keys()
    assert max(losses) == kept + 3 * 5
    assert losses[kept] == pytest.approx(held_out_loss_of(opened(out), unseen), rel=1e-4)
    assert documents[kept] == pytest.approx(held_out_loss_of(opened(out), beside), rel=1e-4)
    # All tokens together, as they stand, would have kept the weights of a later update.
    pairs, others = pairs_in(opened(base), unseen), pairs_in(opened(base), beside)
    counted = [sum(len(answer) for _, answer in side) for side in (pairs, others)]
    together = {step: losses[step] * counted[0] + documents[step] * counted[1] for step in losses}
    assert min(together, key=lambda step: together[step]) > kept
    assert record["decided_by"] == "answers"
    assert record["sides"] == {
        "learned": 50 - len(unseen) - len(beside),
        "deciding": len(unseen),
        "rehearsed": len(beside),
    }
    read = sum(len(prompt) + len(answer) - 1 for prompt, answer in [*pairs, *others])
    assert record["compute"]["held_out_tokens"] == read * len(losses)


def test_texts_decide_where_nothing_was_asked(base: Path, tmp_path: Path) -> None:
    out = tune(base, rehearsed(40), config=recipe(steps=10), out=tmp_path / "texts", device="cpu")
    record: dict[str, Any] = json.loads((out / RECORD).read_text())
    assert record["held_out_loss"]["10"] == pytest.approx(
        held_out_loss_of(opened(out), held_out(rehearsed(40))), rel=1e-4
    )
    assert record["decided_by"] == "documents"
    assert "held_out_loss_documents" not in record


def test_held_out_texts_do_not_stand_in_for_answers(base: Path, tmp_path: Path) -> None:
    given = [Exchange(prompt="a:", answer=" yes", group="one"), *rehearsed(30)]
    with pytest.raises(DataError, match="of 1 exchanges that have a prompt, which decide when to stop, none are"):
        tune(base, given, config=recipe(), out=tmp_path / "bad", device="cpu")


def test_groups_are_held_out_together(base: Path, tmp_path: Path) -> None:
    grouped = [
        Exchange(prompt=one.prompt, answer=one.answer, group="abcdefgh"[place % 8])
        for place, one in enumerate(exchanges(32))
    ]
    out = tune(base, grouped, config=recipe(steps=5), out=tmp_path / "grouped", device="cpu")
    unseen = held_out(grouped)
    assert 0 < len(unseen) < 32
    assert len(unseen) % 4 == 0
    assert record_of(out)["held_out_loss"]["0"] == pytest.approx(held_out_loss_of(opened(base), unseen), rel=1e-4)


def test_the_same_tuning_gives_the_same_weights_and_another_seed_others(base: Path, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    weights = [
        (tune(base, exchanges(), config=recipe(steps=10, seed=seed), out=tmp_path / name, device="cpu"))
        / "model.safetensors"
        for seed, name in ((0, "a"), (0, "b"), (1, "c"))
    ]
    first, again, other = (path.read_bytes() for path in weights)
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_finished_tuning_is_not_repeated_and_another_does_not_take_its_place(tuned: Path, base: Path) -> None:
    written = (tuned / "model.safetensors").stat().st_mtime_ns
    assert tune(base, exchanges(), config=recipe(), out=tuned, device="cpu") == tuned
    assert (tuned / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(RunError, match="its config differ"):
        tune(base, exchanges(), config=recipe(seed=3), out=tuned, device="cpu")
    with pytest.raises(RunError, match="its exchanges differ"):
        tune(base, exchanges(61), config=recipe(), out=tuned, device="cpu")


def test_a_folder_of_something_else_is_left_alone(base: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(RunError, match="holds no tuned model"):
        tune(base, exchanges(), config=recipe(), out=tmp_path, device="cpu")
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([Exchange(prompt="a:", answer=" ")], "has no answer"),
        ([Exchange(prompt="a:", answer=" yes" * 200)], "more than the context of 512"),
        ([Exchange(prompt="a:", answer=" yes")], "exchanges none are"),
    ],
)
def test_exchanges_that_cannot_be_learned_are_refused(
    base: Path, tmp_path: Path, bad: list[Exchange], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        tune(base, bad, config=recipe(), out=tmp_path / "bad", device="cpu")
    assert not (tmp_path / "bad").exists()


def test_a_loss_that_runs_away_is_an_error(base: Path, tmp_path: Path) -> None:
    config = recipe(optimizer={"learning_rate": 1e30})
    with pytest.raises(RunError, match=r"lower optimizer\.learning_rate"):
        tune(base, exchanges(), config=config, out=tmp_path / "runaway", device="cpu")


def test_a_warmup_beyond_the_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup_steps: 50 is more than the 20 steps"):
        recipe(steps=20, optimizer={"learning_rate": 1e-3, "warmup_steps": 50})


def test_on_cuda_the_optimizer_holds_no_further_copy_of_the_weights(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a fused step makes none there."""
    model = opened(base)
    assert not any(group["fused"] for group in _adamw(model, recipe()).param_groups)
    monkeypatch.setattr(torch.nn.Parameter, "is_cuda", True, raising=False)
    assert all(group["fused"] for group in _adamw(model, recipe()).param_groups)

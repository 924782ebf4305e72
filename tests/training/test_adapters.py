"""An adapter is a checkpoint: what is trained is what is saved, what is saved is what is opened, and only on its own base."""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.training.test_tuning import exchanges, held_out, held_out_loss_of, opened, recipe
from trustrace.core.errors import CheckpointError, ConfigError, MissingExtraError, RunError, UnsafeFileError
from trustrace.models import tiny
from trustrace.models.adapters import CONFIG, WEIGHTS
from trustrace.models.likelihood import encode_pair
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.training.adapters import attach, save
from trustrace.training.compute import compute_of, tokens_of_update, within
from trustrace.training.tuning import RECORD, tune_checkpoint
from trustrace.training.tuning_config import AdapterConfig, Budget, TuneConfig

TOKENS = torch.arange(5, 45)[None]
LORA = AdapterConfig(rank=4, alpha=6.0)


@contextmanager
def second_author() -> Iterator[Any]:
    """Peft itself, without what it warns of."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield peft


def adapted_by_tuning(base: Path, out: Path, **changes: Any) -> Path:
    source = open_source(str(base))
    given: dict[str, Any] = {"config": recipe(steps=30), "adapter": LORA, "device": "cpu"} | changes
    return tune_checkpoint(source, source.checkpoints()[-1], exchanges(), out=out, **given)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_series(tmp_path_factory.mktemp("base") / "run", "llama", steps=(0, 40))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapted_by_tuning(base, tmp_path_factory.mktemp("adapted") / "lora")


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "olmo2"])
def test_an_adapter_begins_as_nothing_and_opens_as_what_peft_computes(family: str, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "base", family)
    model = opened(folder)
    plain = model.module(TOKENS).logits
    state = torch.random.get_rng_state()
    adapted = attach(model, LORA, seed=0)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(model.module(TOKENS).logits, plain)
    with torch.no_grad():
        for name, weight in model.module.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    moved = model.module(TOKENS).logits
    assert (moved - plain).abs().max() > 0.1
    save(adapted, tmp_path / "lora", base=str(folder), revision=None)
    ours = opened(tmp_path / "lora").module(TOKENS).logits
    torch.testing.assert_close(ours, moved, rtol=1e-3, atol=1e-4)
    with second_author() as peft:
        whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        theirs = peft.PeftModel.from_pretrained(whole, str(tmp_path / "lora")).eval()(TOKENS).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_merged_matrix_is_the_textbook_s(base: Path, adapter: Path) -> None:
    """W + (alpha / rank) B A, in float64."""
    parts = load_file(adapter / WEIGHTS)
    name = "model.layers.1.mlp.down_proj"
    a, b = (parts[f"base_model.model.{name}.lora_{part}.weight"].double() for part in "AB")
    assert a.shape[0] == b.shape[1] == LORA.rank
    before = opened(base).module.state_dict()[f"{name}.weight"].double()
    after = opened(adapter).module.state_dict()[f"{name}.weight"].double()
    torch.testing.assert_close(after, before + LORA.alpha / LORA.rank * b @ a, rtol=0, atol=1e-6)
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "olmo2"])
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_merged_weights_are_the_float32_sum_rounded_once(family: str, stored: str, tmp_path: Path) -> None:
    """The sum by hand, W + (alpha / rank) B A in float32; adding in bfloat16, as peft would by itself, gives other bits."""
    folder = tiny.save(tmp_path / "base", family)
    if stored == "bfloat16":
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    source = open_source(str(folder))
    model = load(source, source.checkpoints()[0], dtype="float32")
    adapted = attach(model, LORA, seed=0)
    with torch.no_grad():
        for name, weight in model.module.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02, generator=torch.Generator().manual_seed(len(name)))
    save(adapted, tmp_path / "lora", base=str(folder), revision=None)
    whole, half, auto = (loaded_in(tmp_path / "lora", dtype) for dtype in ("float32", "bfloat16", "auto"))
    plain = loaded_in(folder, "bfloat16")
    parts, before = load_file(tmp_path / "lora" / WEIGHTS), loaded_in(folder, "float32").state_dict()
    changed = 0
    for name, value in whole.state_dict().items():
        a = parts.get(f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight")
        if a is not None:
            b = parts[f"base_model.model.{name.removesuffix('.weight')}.lora_B.weight"]
            product = LORA.alpha / LORA.rank * (b @ a)
            expected = before[name] + (product.T if family == "gpt2" else product)
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-7)
            in_half = before[name].bfloat16() + (expected - before[name]).bfloat16()
            changed += int((in_half != value.bfloat16()).sum())
        assert torch.equal(half.state_dict()[name], value.bfloat16()), name
    assert changed > 0
    assert auto.dtype == getattr(torch, stored)
    assert half.config.dtype == half.dtype == torch.bfloat16
    assert {name: one.dtype for name, one in half.named_buffers()} == {
        name: one.dtype for name, one in plain.named_buffers()
    }


def loaded_in(folder: Path, dtype: str) -> Any:
    source = open_source(str(folder))
    return load(source, source.checkpoints()[0], dtype=dtype).module


def test_the_folder_holds_adapter_weights_alone_and_says_what_it_is(base: Path, adapter: Path) -> None:
    assert all("lora_" in name for name in load_file(adapter / WEIGHTS))
    assert not (adapter / "model.safetensors").exists()
    assert not (adapter / "README.md").exists()
    checkpoint = open_source(str(adapter)).checkpoints()[0]
    facts = json.loads((adapter / "trustrace.json").read_text())
    source = open_source(str(base))
    pinned = source.pin(source.checkpoints()[-1])
    assert facts["base"] == {"checkpoint": pinned.key, "commit": pinned.commit}
    assert checkpoint.step == facts["step"] > 40
    assert json.loads((adapter / CONFIG).read_text())["base_model_name_or_path"].endswith("step_0000040")


def test_the_reloaded_adapter_is_the_model_that_was_in_memory(adapter: Path) -> None:
    """It was best on the held-out answers, and the record says how good."""
    losses = json.loads((adapter / RECORD).read_text())["held_out_loss"]
    assert min(losses.values()) < losses["0"] / 1.5
    assert held_out_loss_of(opened(adapter), held_out(exchanges())) == pytest.approx(min(losses.values()), rel=1e-4)


def test_training_an_adapter_leaves_its_base_alone_and_is_repeatable(base: Path, adapter: Path, tmp_path: Path) -> None:
    source = open_source(str(base))
    before = source.pin(source.checkpoints()[-1]).commit
    again = adapted_by_tuning(base, tmp_path / "lora")
    assert (again / WEIGHTS).read_bytes() == (adapter / WEIGHTS).read_bytes()
    pins = [open_source(str(place)) for place in (adapter, again)]
    assert len({one.pin(one.checkpoints()[0]).commit for one in pins}) == 1
    assert source.pin(source.checkpoints()[-1]).commit == before


def test_the_first_step_goes_down_the_loss_of_answer_tokens_alone(base: Path, tmp_path: Path) -> None:
    """A textbook loss in float64, token by token; with A drawn and B zero, only B has a gradient."""
    few = exchanges(12)
    seen = [one for one in few if one not in held_out(few)]
    optimizer = {"learning_rate": 1e-4, "floor": 1e-4, "weight_decay": 0.0}
    config = recipe(steps=1, batch=len(seen), optimizer=optimizer)
    source = open_source(str(base))
    out = tune_checkpoint(
        source, source.checkpoints()[-1], few, config=config, adapter=LORA, out=tmp_path / "x", device="cpu"
    )
    model = opened(base)
    attach(model, LORA, seed=config.seed)
    model.module.double()
    total, count = torch.zeros((), dtype=torch.float64), 0
    for one in seen:
        prompt, answer = encode_pair(model, one.prompt, one.answer)
        tokens = [*prompt, *answer, model.tokenizer.eos_token_id]
        logits = model.module(torch.tensor([tokens])).logits[0]
        for place in range(len(prompt), len(tokens)):
            p = torch.exp(logits[place - 1]) / torch.exp(logits[place - 1]).sum()
            total, count = total - torch.log(p[tokens[place]]), count + 1
    torch.autograd.backward(total / count)
    saved = load_file(out / WEIGHTS)
    checked = 0
    for name, weight in model.module.named_parameters():
        if "lora_B" in name and weight.grad is not None:
            moved = saved[f"base_model.model.{name.replace('.default', '')}"]
            clear = weight.grad.abs() > weight.grad.abs().max() / 10
            assert torch.equal(moved.sign()[clear].double(), -weight.grad.sign()[clear]), name
            checked += 1
    assert checked == 3 * 7


@pytest.mark.parametrize(
    ("family", "shape", "message"),
    [
        ("llama", {"d_model": 64}, "does not fit its base"),
        ("llama", {"n_blocks": 2}, "does not fit its base"),
        ("llama", {"n_blocks": 4}, "does not fit its base"),
        ("gpt_neox", {}, "does not fit its base"),
    ],
)
def test_an_adapter_for_another_shape_is_one_error(
    adapter: Path, tmp_path: Path, family: str, shape: dict[str, int], message: str
) -> None:
    other = tiny.save(tmp_path / "other", family, **shape)
    moved = rebased(adapter, tmp_path / "lora", other)
    (moved / "trustrace.json").unlink()
    with pytest.raises(CheckpointError, match=message) as refused:
        opened(moved)
    assert "\n" not in str(refused.value)


def test_an_adapter_on_other_weights_of_the_same_shape_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = tiny.save(tmp_path / "other", "llama", seed=5)
    moved = rebased(adapter, tmp_path / "lora", other)
    with pytest.raises(CheckpointError, match="was trained on run@step_0000040 with other weights"):
        opened(moved)


def rebased(adapter: Path, to: Path, base: Path | str) -> Path:
    """A copy of the adapter that says it belongs to `base`."""
    to.mkdir()
    for file in adapter.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    config = json.loads((to / CONFIG).read_text()) | {"base_model_name_or_path": base and str(base)}
    (to / CONFIG).write_text(json.dumps(config))
    return to


def test_what_cannot_be_opened_says_why(adapter: Path, base: Path, tmp_path: Path) -> None:
    pickled = rebased(adapter, tmp_path / "pickled", base)
    (pickled / WEIGHTS).rename(pickled / "adapter_model.bin")
    with pytest.raises(UnsafeFileError, match=r"adapter_model\.bin"):
        opened(pickled)
    (pickled / "adapter_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"no adapter_model\.safetensors"):
        opened(pickled)
    with pytest.raises(CheckpointError, match="is not there; put the model back"):
        opened(rebased(adapter, tmp_path / "gone", tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match="names no base"):
        opened(rebased(adapter, tmp_path / "nameless", ""))
    with pytest.raises(CheckpointError, match="its base is an adapter too"):
        opened(rebased(adapter, tmp_path / "stacked", adapter))
    other = rebased(adapter, tmp_path / "other", base)
    (other / CONFIG).write_text(json.dumps(json.loads((other / CONFIG).read_text()) | {"peft_type": "IA3"}))
    with pytest.raises(CheckpointError, match="only LORA"):
        opened(other)


def test_an_adapter_is_not_trained_on_an_adapter_but_tuned_in_full(adapter: Path, tmp_path: Path) -> None:
    source = open_source(str(adapter))
    with pytest.raises(CheckpointError, match="is an adapter itself"):
        adapted_by_tuning(adapter, tmp_path / "second")
    out = tune_checkpoint(
        source, source.checkpoints()[0], exchanges(), config=recipe(steps=6), out=tmp_path / "full", device="cpu"
    )
    assert (out / "model.safetensors").is_file()
    before = json.loads((adapter / RECORD).read_text())["held_out_loss"]
    assert json.loads((out / RECORD).read_text())["held_out_loss"]["0"] == pytest.approx(min(before.values()), rel=1e-4)


def test_without_peft_the_way_out_is_named(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"trustrace\[train\]"):
        opened(adapter)
    with pytest.raises(MissingExtraError, match=r"trustrace\[train\]"):
        adapted_by_tuning(base, tmp_path / "lora")
    assert not (tmp_path / "lora").exists()


@pytest.mark.parametrize(
    "wrong", [{"rank": 0}, {"rank": -1}, {"alpha": 0}, {"dropout": 1.0}, {"target_modules": []}, {"alpha": "inf"}]
)
def test_an_adapter_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AdapterConfig.read(wrong, where="a test")


def test_modules_that_a_model_lacks_are_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no adapter can be put on"):
        adapted_by_tuning(base, tmp_path / "lora", adapter=AdapterConfig(target_modules=("nowhere",)))


def test_another_adapter_s_folder_is_left_alone(base: Path, adapter: Path) -> None:
    before = (adapter / WEIGHTS).read_bytes()
    for changes in ({"adapter": AdapterConfig(rank=2)}, {"adapter": None}, {"budget": Budget(tokens=1000)}):
        with pytest.raises(RunError, match="holds another tuned model"):
            adapted_by_tuning(base, adapter, **changes)
    assert (adapter / WEIGHTS).read_bytes() == before
    assert adapted_by_tuning(base, adapter) == adapter


def test_a_loss_that_is_not_finite_ends_it_and_leaves_nothing(base: Path, tmp_path: Path) -> None:
    config = recipe(optimizer={"learning_rate": 1e30, "warmup_steps": 0, "clip": 1e30}, steps=20)
    with pytest.raises(RunError, match="the loss is nan"):
        adapted_by_tuning(base, tmp_path / "lora", config=config)
    assert not (tmp_path / "lora").exists()


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "olmo2"])
def test_an_adapter_in_float32_learns_beside_a_base_in_bfloat16(family: str, tmp_path: Path) -> None:
    source = open_source(str(tiny.save(tmp_path / "base", family)))
    model = load(source, source.checkpoints()[0], dtype="bfloat16")
    attach(model, LORA, seed=0)
    frozen = {one.dtype for one in model.module.parameters() if not one.requires_grad}
    trained = {one.dtype for one in model.module.parameters() if one.requires_grad}
    assert (frozen, trained) == ({torch.bfloat16}, {torch.float32})
    half = LORA.model_copy(update={"base_dtype": "bfloat16"})
    out = adapted_by_tuning(tmp_path / "base", tmp_path / "half", adapter=half)
    whole = adapted_by_tuning(tmp_path / "base", tmp_path / "whole")
    assert {one.dtype for one in load_file(out / WEIGHTS).values()} == {torch.float32}
    ends, plain = (json.loads((one / RECORD).read_text()) for one in (out, whole))
    assert ends["adapter"]["base_dtype"] == "bfloat16"
    losses = [min(one["held_out_loss"].values()) for one in (ends, plain)]
    assert losses[0] < ends["held_out_loss"]["0"] / 1.2
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert losses[0] != losses[1]
    # Opened in what it was trained beside, it is the model that was in memory, but for the rounding of its merged weights.
    merged = load(open_source(str(out)), open_source(str(out)).checkpoints()[0], dtype="bfloat16")
    assert held_out_loss_of(merged, held_out(exchanges())) == pytest.approx(losses[0], rel=0.1)


PAIRS = [((1,) * n, (2,) * m) for n, m in ((3, 2), (5, 1), (2, 2), (4, 4), (1, 1))]


@pytest.mark.parametrize("frozen", [False, True])
def test_operations_are_the_textbook_s(frozen: bool) -> None:
    """6 N a token where all N weights learn; 4 N and 2 n where n do. Two a weight and token for looking."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 5, bias=False), torch.nn.Linear(5, 2, bias=False))
    module[0].weight.requires_grad_(not frozen)
    config = TuneConfig(steps=7, batch=2, check_every=3, optimizer=recipe().optimizer)
    spent = compute_of(module, PAIRS, PAIRS[:2], config=config, updates=7)
    tokens = sum(tokens_of_update(step, PAIRS, config) for step in range(7))
    two_epochs = 2 * sum(len(prompt) + len(answer) - 1 for prompt, answer in PAIRS)
    assert two_epochs < tokens < 2 * two_epochs
    assert spent.training_tokens == tokens
    assert spent.held_out_tokens == (4 + 5) * 4
    trained = 10 if frozen else 25
    assert spent.flops == (4 * 25 + 2 * trained) * tokens + 2 * 25 * 36


@pytest.mark.parametrize("budget", [Budget(tokens=100), Budget(flops=2e4)])
def test_a_budget_is_spent_and_not_exceeded(budget: Budget) -> None:
    module = torch.nn.Linear(5, 5, bias=False)
    config = TuneConfig(steps=1000, batch=2, check_every=3, optimizer=recipe().optimizer)
    asked = within(budget, config, module, PAIRS, PAIRS[:2])
    assert asked.patience == asked.steps
    spent, more = (compute_of(module, PAIRS, PAIRS[:2], config=asked, updates=asked.steps + i) for i in (0, 1))
    if budget.tokens:
        assert spent.training_tokens <= budget.tokens < more.training_tokens
    else:
        assert spent.flops <= (budget.flops or 0) < more.flops


def test_tuning_within_a_budget_takes_all_of_it(base: Path, tmp_path: Path) -> None:
    out = adapted_by_tuning(base, tmp_path / "lora", budget=Budget(tokens=3000))
    spent = json.loads((out / RECORD).read_text())["compute"]
    assert 2000 < spent["training_tokens"] <= 3000
    with pytest.raises(ConfigError, match="does not pay for one update"):
        adapted_by_tuning(base, tmp_path / "none", budget=Budget(tokens=3))
    with pytest.raises(ConfigError, match="either `tokens` or `flops`"):
        Budget.read({}, where="a test")

"""A text gets the same intervention however it is run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from trustrace.core.errors import ConfigError, ModelError
from trustrace.interventions.edits import Edit, add
from trustrace.interventions.positions import Positions
from trustrace.interventions.steering import Steering
from trustrace.models import tiny
from trustrace.models.generation import Decoding, generate
from trustrace.models.language_model import LanguageModel
from trustrace.models.layout import Layout, laid_out
from trustrace.models.likelihood import Pair, encode_pair, likelihoods

FAMILIES = ("llama", "gpt_neox", "olmo2", "gpt2", "bloom", "gemma2", "falcon", "mistral")
RULES = ("all", "prompt_last+generated", "generated", "window:-3:", "window:1:4", "window::-2")
BEGINNING = "Once upon a time, in the far west, "
PROMPTS = [BEGINNING + end for end in ("a", "hello there", "what is this thing?", "x yz")]


def model_of(family: str) -> LanguageModel:
    return LanguageModel.of(tiny.build(family), tiny.tokenizer(adds_bos=family in tiny.FAMILIES_WITH_BOS))


def unit(seed: int, d_model: int = 32) -> Tensor:
    drawn = torch.randn(d_model, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm()


def edits_of(kind: str, *, strength: float = 6.0) -> list[Edit]:
    match kind:
        case "add":
            return [add("block_1", unit(0), alpha=strength)]
        case "ablate":
            return [Edit(site="block_0", kind="ablate", direction=unit(1))]
        case "clamp":
            return [Edit(site="block_1", kind="clamp", direction=unit(2), amount=strength)]
    return [
        add("embed", unit(3), alpha=strength),
        Edit(site="block_0", kind="ablate", direction=unit(4)),
        add("block_0", unit(5), alpha=strength),
        Edit(site="final_norm", kind="clamp", direction=unit(6), amount=strength),
    ]


def chosen_by_hand(rule: str, place: int, prompt: int) -> bool:
    match rule:
        case "all":
            return True
        case "prompt_last+generated":
            return place >= prompt - 1
        case "generated":
            return place >= prompt
    start, stop = (int(part) if part else None for part in rule.split(":")[1:])
    return place in range(prompt)[start:stop]


@contextmanager
def edited_by_hand(model: LanguageModel, edits: list[Edit], rule: str, prompt: int) -> Iterator[None]:
    """One row, no cache, no padding: the textbook form of each edit, token by token in float64."""

    def changed(h: Tensor, edit: Edit) -> Tensor:
        out = h.double().clone()
        u = edit.direction.double()
        for place in range(h.shape[1]):
            if not chosen_by_hand(rule, place, prompt):
                continue
            along = u @ out[0, place]
            match edit.kind:
                case "add":
                    out[0, place] += edit.amount * u
                case "ablate":
                    out[0, place] -= along * u
                case "clamp":
                    out[0, place] += (edit.amount - along) * u
        return out.to(h.dtype)

    def hook(edit: Edit) -> Callable[..., object]:
        def after(module: object, args: object, output: object) -> object:
            return changed(output, edit) if isinstance(output, Tensor) else (changed(output[0], edit), *output[1:])  # type: ignore[index]

        return after

    def before(edit: Edit) -> Callable[..., object]:
        def entering(module: object, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> object:
            if args:
                return (changed(args[0], edit), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": changed(kwargs["hidden_states"], edit)}

        return entering

    handles = []
    for edit in edits:
        if edit.site == "embed":
            handles.append(model.anatomy.blocks[0].register_forward_pre_hook(before(edit), with_kwargs=True))
        elif edit.site == "final_norm":
            handles.append(model.anatomy.final_norm.register_forward_hook(hook(edit)))
        else:
            handles.append(model.anatomy.blocks[int(edit.site[6:])].register_forward_hook(hook(edit)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def generated_by_hand(model: LanguageModel, text: str, edits: list[Edit], rule: str, n: int) -> list[int]:
    tokens = list(model.tokenizer(text).input_ids)
    prompt = len(tokens)
    with edited_by_hand(model, edits, rule, prompt), torch.no_grad():
        for _ in range(n):
            tokens.append(int(model.module(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
            if tokens[-1] == model.tokenizer.eos_token_id:
                return tokens[prompt:-1]
    return tokens[prompt:]


def scored_by_hand(model: LanguageModel, pair: Pair, edits: list[Edit], rule: str) -> np.ndarray:
    prompt, continuation = pair
    with edited_by_hand(model, edits, rule, len(prompt)), torch.no_grad():
        logits = model.module(torch.tensor([prompt + continuation]), use_cache=False).logits[0].double()
    chosen = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(-1, torch.tensor(continuation)[:, None])
    return chosen[:, 0].numpy()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_cached_generation_is_that_of_one_text_without_a_cache(family: str, rule: str) -> None:
    model, edits = model_of(family), edits_of("many")
    with Steering.of(edits, positions=Positions.parse(rule)).on(model) as steered:
        (answers,) = generate(steered, PROMPTS, decoding=Decoding(max_new_tokens=6))
    assert [list(answer.tokens) for answer in answers] == [
        generated_by_hand(model, prompt, edits, rule, 6) for prompt in PROMPTS
    ]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", FAMILIES)
def test_scoring_a_text_is_steered_where_generating_it_is(family: str, rule: str) -> None:
    model, edits = model_of(family), edits_of("many")
    pairs = [encode_pair(model, prompt, answer) for prompt in PROMPTS for answer in (" b", " cde", " a longer one")]
    with Steering.of(edits, positions=Positions.parse(rule)).on(model) as steered:
        (found,) = likelihoods(steered, pairs)
    for pair, likelihood in zip(pairs, found, strict=True):
        np.testing.assert_allclose(likelihood.log_probs, scored_by_hand(model, pair, edits, rule), atol=2e-5)


@pytest.mark.parametrize("kind", ["add", "ablate", "clamp"])
def test_each_edit_is_its_textbook_form_and_changes_something(kind: str) -> None:
    model, edits = model_of("llama"), edits_of(kind)
    pair = encode_pair(model, PROMPTS[1], " some words")
    (plain,) = likelihoods(model, [pair])
    with Steering.of(edits).on(model) as steered:
        (found,) = likelihoods(steered, [pair])
    np.testing.assert_allclose(
        found[0].log_probs, scored_by_hand(model, pair, edits, "prompt_last+generated"), atol=1e-5
    )
    assert np.abs(found[0].log_probs - plain[0].log_probs).max() > 1e-3


@pytest.mark.parametrize("rule", ["all", "prompt_last+generated", "generated", "window:-3:"])
@pytest.mark.parametrize("family", ["llama", "bloom", "gpt2", "mistral"])
def test_versions_in_one_batch_are_separate_runs(family: str, rule: str) -> None:
    """Strength and site differ from row to row; one version is the plain model."""
    model, positions = model_of(family), Positions.parse(rule)
    versions = [(), *([edits_of(kind, strength=strength) for kind in ("add", "many") for strength in (-4.0, 9.0)])]
    pairs = [encode_pair(model, prompt, answer) for prompt in PROMPTS for answer in (" b", " longer")]
    with Steering(versions=tuple(map(tuple, versions)), positions=positions).on(model) as steered:
        answers = generate(steered, PROMPTS, decoding=Decoding(max_new_tokens=5))
        scores = likelihoods(steered, pairs)
    assert len(answers) == len(scores) == len(versions)
    for edits, answered, scored in zip(versions, answers, scores, strict=True):
        with Steering.of(edits, positions=positions).on(model) as alone:
            assert generate(alone, PROMPTS, decoding=Decoding(max_new_tokens=5)) == (answered,)
            (expected,) = likelihoods(alone, pairs)
        for one, other in zip(scored, expected, strict=True):
            np.testing.assert_allclose(one.log_probs, other.log_probs, atol=2e-5)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_anybody_s_call_of_generate_is_steered_with_a_cache_and_without(rule: str, use_cache: bool) -> None:
    model, edits = model_of("llama"), edits_of("many")
    tokenizer = model.tokenizer
    tokenizer.padding_side = "left"
    inputs = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    with Steering.of(edits, positions=Positions.parse(rule)).on(model) as steered:
        out = steered.module.generate(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            max_new_tokens=6,
            do_sample=False,
            use_cache=use_cache,
            pad_token_id=1,
        )
    written = [[t for t in row if t != 1] for row in out[:, inputs.input_ids.shape[1] :].tolist()]
    assert written == [generated_by_hand(model, prompt, edits, rule, 6) for prompt in PROMPTS]


def test_the_padding_side_changes_nothing() -> None:
    model, edits = model_of("gpt_neox"), edits_of("many")
    texts = [tuple(model.tokenizer(prompt).input_ids) for prompt in PROMPTS]
    width = max(map(len, texts))
    found = {}
    for side in ("left", "right"):
        rows, masks = [], []
        for text in texts:
            gap = width - len(text)
            rows.append([1] * gap + list(text) if side == "left" else list(text) + [1] * gap)
            masks.append([0] * gap + [1] * len(text) if side == "left" else [1] * len(text) + [0] * gap)
        mask = torch.tensor(masks)
        layout = Layout(prompts=torch.tensor([len(text) - 2 for text in texts]))
        with Steering.of(edits).on(model) as steered, laid_out(layout), torch.no_grad():
            logits = steered.module(
                torch.tensor(rows), attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0)
            ).logits
        found[side] = [row[kept.bool()] for row, kept in zip(logits, mask, strict=True)]
    for left, right in zip(found["left"], found["right"], strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_a_strength_of_zero_is_the_plain_model_bit_for_bit(rule: str) -> None:
    model = model_of("llama")
    tokens = torch.tensor([model.tokenizer(PROMPTS[0]).input_ids])
    layout = Layout(prompts=torch.tensor([5]))
    zero = Steering.of([add("block_1", unit(0), alpha=0.0)], positions=Positions.parse(rule))
    with torch.no_grad():
        plain = model.module(tokens).logits
        with zero.on(model) as steered, laid_out(layout):
            assert torch.equal(steered.module(tokens).logits, plain)


def is_untouched(model: LanguageModel) -> bool:
    parts = list(model.module.modules())
    return "generate" not in model.module.__dict__ and not any(
        part._forward_hooks or part._forward_pre_hooks for part in parts
    )


def test_the_model_is_as_it_was_after_the_body_however_it_ends() -> None:
    model = model_of("llama")
    with Steering.of(edits_of("many")).on(model):
        assert not is_untouched(model)
    assert is_untouched(model)
    with pytest.raises(KeyboardInterrupt), Steering.of(edits_of("many")).on(model):
        raise KeyboardInterrupt
    assert is_untouched(model)
    with pytest.raises(ConfigError), Steering.of([add("block_9", unit(0))]).on(model):
        pass
    assert is_untouched(model)


def test_interventions_nest_and_leave_in_turn() -> None:
    model = model_of("llama")
    first, second = edits_of("add"), edits_of("ablate")
    pair = encode_pair(model, PROMPTS[0], " some words")
    with Steering.of(second + first).on(model) as both:
        (expected,) = likelihoods(both, [pair])
    with Steering.of(second).on(model) as outer:
        with Steering.of(first).on(outer) as inner:
            (found,) = likelihoods(inner, [pair])
        (outer_alone,) = likelihoods(outer, [pair])
    np.testing.assert_allclose(found[0].log_probs, expected[0].log_probs, atol=1e-6)
    np.testing.assert_allclose(
        outer_alone[0].log_probs, scored_by_hand(model, pair, second, "prompt_last+generated"), atol=1e-5
    )
    assert is_untouched(model)


def test_several_versions_do_not_nest_in_several() -> None:
    model = model_of("llama")
    two = Steering(versions=((), tuple(edits_of("add"))))
    with two.on(model) as several, pytest.raises(ModelError, match="2 versions already"), two.on(several):
        pass


def test_a_pass_that_does_not_say_where_its_prompt_ends_is_refused_rather_than_guessed() -> None:
    model = model_of("llama")
    tokens = torch.tensor([model.tokenizer(PROMPTS[0]).input_ids])
    with Steering.of(edits_of("add")).on(model) as steered, pytest.raises(ModelError, match="where the prompt ends"):
        steered.module(tokens)
    two = Steering(versions=((), tuple(edits_of("add"))))
    shared = Layout(prompts=torch.tensor([3]))
    with two.on(model) as steered, laid_out(shared), pytest.raises(ModelError, match="whose row is whose"):
        steered.module(tokens)


def test_a_model_in_half_precision_is_steered_in_half_precision() -> None:
    model = LanguageModel.of(tiny.build("llama").to(torch.bfloat16), tiny.tokenizer())
    pair = encode_pair(model, PROMPTS[0], " b")
    (plain,) = likelihoods(model, [pair])
    with Steering.of(edits_of("many")).on(model) as steered:
        (found,) = likelihoods(steered, [pair])
    assert steered.dtype == torch.bfloat16
    assert np.isfinite(found[0].log_probs).all()
    assert found[0].total != plain[0].total


@pytest.mark.parametrize("alpha", [float("nan"), float("inf")])
def test_a_strength_that_is_no_number_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="finite"):
        add("block_1", unit(0), alpha=alpha)


@pytest.mark.parametrize("vector", [torch.zeros(32), torch.full((32,), float("nan"))])
def test_a_vector_that_moves_nothing_is_refused(vector: Tensor) -> None:
    with pytest.raises(ConfigError, match="moves something"):
        add("block_1", vector)


def test_a_vector_of_another_width_is_refused_before_anything_is_changed() -> None:
    model = model_of("llama")
    with (
        pytest.raises(ModelError, match=r"has 16 entries, but .* has width 32"),
        Steering.of([add("block_0", torch.ones(16))]).on(model),
    ):
        pass
    assert is_untouched(model)


@pytest.mark.parametrize("text", ["everywhere", "window", "window:a:b", "window:-:2", ""])
def test_positions_of_no_meaning_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="unknown positions"):
        Positions.parse(text)


@pytest.mark.parametrize("rule", RULES)
def test_positions_are_written_as_they_are_read(rule: str) -> None:
    assert str(Positions.parse(rule)) == rule


@pytest.mark.parametrize("rule", ["all", "prompt_last+generated", "generated", "window:1:4"])
def test_the_model_itself_is_its_steered_self_while_the_body_runs(rule: str) -> None:
    model, edits = model_of("llama"), edits_of("many")
    with Steering.of(edits, positions=Positions.parse(rule)).on(model):
        (answers,) = generate(model, PROMPTS, decoding=Decoding(max_new_tokens=5))
    assert [list(answer.tokens) for answer in answers] == [
        generated_by_hand(model, prompt, edits, rule, 5) for prompt in PROMPTS
    ]


def test_a_window_from_the_end_is_refused_where_the_end_is_not_known() -> None:
    model = model_of("llama")
    window = Steering.of(edits_of("add"), positions=Positions.parse("window:-3:"))
    with window.on(model), pytest.raises(ModelError, match="where the prompt ends"):
        generate(model, PROMPTS, decoding=Decoding(max_new_tokens=2))


def test_prompts_that_are_read_in_chunks_are_refused() -> None:
    model = model_of("llama")
    tokens = torch.tensor([model.tokenizer(PROMPTS[0]).input_ids])
    with Steering.of(edits_of("add")).on(model) as steered, pytest.raises(ModelError, match="in chunks"):
        steered.module.generate(input_ids=tokens, max_new_tokens=3, prefill_chunk_size=5)


@pytest.mark.parametrize("rule", ["all", "prompt_last+generated", "generated", "window:-3:"])
@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_a_cache_that_is_as_long_as_it_will_once_be_changes_nothing(family: str, rule: str) -> None:
    model, edits = model_of(family), edits_of("many")
    tokens = torch.tensor([model.tokenizer(PROMPTS[1]).input_ids])
    with Steering.of(edits, positions=Positions.parse(rule)).on(model) as steered:
        out = steered.module.generate(
            input_ids=tokens, max_new_tokens=5, do_sample=False, cache_implementation="static", pad_token_id=1
        )
    written = [token for token in out[0, tokens.shape[1] :].tolist() if token != 1]
    assert written == generated_by_hand(model, PROMPTS[1], edits, rule, 5)


def test_a_pass_with_a_past_and_no_mask_knows_where_it_stands() -> None:
    """BLOOM takes no positions: without a mask the cache alone says how far a text has been read."""
    model, edits = model_of("bloom"), edits_of("add")
    tokens = torch.tensor([model.tokenizer(PROMPTS[0]).input_ids])
    layout = Layout(prompts=torch.tensor([tokens.shape[1] - 2]))
    with Steering.of(edits).on(model) as steered, laid_out(layout), torch.no_grad():
        whole = steered.module(tokens, use_cache=True).logits
        first = steered.module(tokens[:, :-4], use_cache=True)
        rest = steered.module(tokens[:, -4:], past_key_values=first.past_key_values, use_cache=True).logits
    torch.testing.assert_close(rest, whole[:, -4:], atol=1e-4, rtol=1e-4)

"""A base speaks with what tuning did to another model, however it is run."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from torch import Tensor

from tests.interventions.test_steering import edited_by_hand, unit
from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError, DataError, ModelError, TokenizerError
from trustrace.evaluation.harness.live import LiveModel
from trustrace.interventions.edits import add
from trustrace.interventions.prompting import Prompting
from trustrace.interventions.proxy import ProxyTuning, contrasted
from trustrace.interventions.steering import Steering
from trustrace.models import tiny
from trustrace.models.generation import Decoding, generate
from trustrace.models.language_model import LanguageModel
from trustrace.models.layout import Layout, laid_out
from trustrace.models.likelihood import Pair, encode_pair, likelihoods, read_logits
from trustrace.models.vocabularies import extends

FAMILIES = ("llama", "gpt_neox", "olmo2", "gpt2")
BEGINNING = "Once upon a time, in the far west, "
PROMPTS = [BEGINNING + end for end in ("a", "hello there", "what is this thing?", "x yz")] + ["b"]
ALPHAS = (0.0, 0.7, -1.3, 2.0)
Parts = tuple[LanguageModel, LanguageModel, LanguageModel]


def model_of(family: str, seed: int = 0, **shape: int) -> LanguageModel:
    tokenizer = tiny.tokenizer(adds_bos=family in tiny.FAMILIES_WITH_BOS)
    return LanguageModel.of(tiny.build(family, seed=seed, **shape), tokenizer)


def three(family: str) -> Parts:
    base, expert, anti_expert = (model_of(family, seed) for seed in range(3))
    return base, expert, anti_expert


def proxy(parts: Parts, alphas: Sequence[float] = (1.0,)) -> ProxyTuning:
    return ProxyTuning(expert=parts[1], anti_expert=parts[2], alphas=tuple(alphas))


def pairs_of(model: LanguageModel) -> list[Pair]:
    return [encode_pair(model, prompt, answer) for prompt in PROMPTS for answer in (" b", " cde", " a longer one")]


def logits_by_hand(parts: Parts, tokens: Sequence[int], *alphas: float) -> Tensor:
    """Three passes without a cache or padding, added up in float64, for each alpha."""
    with torch.no_grad():
        base, expert, anti_expert = (
            part.module(torch.tensor([tokens]), use_cache=False).logits[0].double() for part in parts
        )
    n = len(parts[0].tokenizer)
    mixed = base.repeat(len(alphas), 1, 1)
    for row, alpha in zip(mixed, alphas, strict=True):
        row[:, :n] = base[:, :n] + alpha * (expert[:, :n] - anti_expert[:, :n])
    return mixed


def generated_by_hand(parts: Parts, text: str, alpha: float, n: int) -> list[int]:
    tokenizer = parts[0].tokenizer
    tokens = list(tokenizer(text).input_ids)
    start = len(tokens)
    for _ in range(n):
        tokens.append(int(logits_by_hand(parts, tokens, alpha)[0, -1].argmax()))
        if tokens[-1] == tokenizer.eos_token_id:
            return tokens[start:-1]
    return tokens[start:]


def scored_by_hand(parts: Parts, pair: Pair, *alphas: float) -> np.ndarray:
    prompt, continuation = pair
    log_probs = logits_by_hand(parts, prompt + continuation, *alphas).log_softmax(-1)
    chosen = log_probs[:, torch.arange(len(prompt) - 1, len(prompt + continuation) - 1), torch.tensor(continuation)]
    return chosen.numpy()


def padded_left(model: LanguageModel) -> dict[str, Tensor]:
    encoded = model.tokenizer(PROMPTS, return_tensors="pt", padding=True, padding_side="left")
    return {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_alpha_of_a_batch_answers_as_three_separate_models_added_by_hand(family: str) -> None:
    parts = three(family)
    with proxy(parts, ALPHAS).on(parts[0]) as proxied:
        answers = generate(proxied, PROMPTS, decoding=Decoding(max_new_tokens=5))
    found = [[list(answer.tokens) for answer in row] for row in answers]
    assert found == [[generated_by_hand(parts, prompt, alpha, 5) for prompt in PROMPTS] for alpha in ALPHAS]
    assert len({tuple(map(tuple, row)) for row in found}) == len(ALPHAS)


@pytest.mark.parametrize("family", [*FAMILIES, "bloom", "falcon", "gemma2", "mpt", "opt"])
def test_every_alpha_of_a_batch_scores_as_three_separate_models_added_by_hand(family: str) -> None:
    parts = three(family)
    pairs = pairs_of(parts[0])
    with proxy(parts, ALPHAS).on(parts[0]) as proxied:
        scores = likelihoods(proxied, pairs)
    for place, pair in enumerate(pairs):
        found = [row[place].log_probs for row in scores]
        np.testing.assert_allclose(found, scored_by_hand(parts, pair, *ALPHAS), atol=5e-5)
    assert np.abs(scores[0][0].log_probs - scores[1][0].log_probs).max() > 1e-2


def same_logits(one: LanguageModel, other: LanguageModel, pairs: Sequence[Pair]) -> bool:
    batches = [list(read_logits(model, pairs)) for model in (one, other)]
    return all(
        torch.equal(mine.logits[variant], theirs.logits[0].to(mine.logits.dtype))
        for mine, theirs in zip(*batches, strict=True)
        for variant in range(one.variants)
    )


@pytest.mark.parametrize(
    ("family", "dtype"),
    [*((family, torch.float32) for family in FAMILIES), ("llama", torch.bfloat16), ("gpt2", torch.bfloat16)],
)
@pytest.mark.parametrize("identity", ["alpha is 0", "expert = anti-expert", "they are one model"])
def test_what_must_be_the_base_is_the_base_bit_for_bit(identity: str, family: str, dtype: torch.dtype) -> None:
    base, expert, anti_expert = three(family)
    for part in (base, expert, anti_expert):
        part.module.to(dtype)
    alphas: tuple[float, ...] = (1.0,)
    match identity:
        case "alpha is 0":
            alphas = (0.0,)
        case "expert = anti-expert":
            anti_expert = LanguageModel.of(copy.deepcopy(expert.module), expert.tokenizer)
        case "they are one model":
            anti_expert = expert
    pairs, decoding = pairs_of(base), Decoding(max_new_tokens=6)
    inputs = padded_left(base)
    with proxy((base, expert, anti_expert), alphas).on(base) as proxied, torch.no_grad():
        logits = proxied.module(**inputs).logits
        assert logits.dtype == torch.float32
        assert torch.equal(logits.to(dtype), base.module(**inputs).logits)
        assert torch.equal(logits, base.module(**inputs).logits.float())
        assert same_logits(proxied, base, pairs)
        assert generate(proxied, PROMPTS, decoding=decoding) == generate(base, PROMPTS, decoding=decoding)
        found, expected = likelihoods(proxied, pairs), likelihoods(base, pairs)
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one.log_probs, other.log_probs)
        assert one.is_greedy == other.is_greedy


@pytest.mark.parametrize("family", FAMILIES)
def test_alpha_0_is_the_base_bit_for_bit_among_other_alphas(family: str) -> None:
    parts, decoding = three(family), Decoding(max_new_tokens=6)
    with proxy(parts, (3.0, 0.0, -2.0)).on(parts[0]) as proxied:
        batches = [list(read_logits(model, pairs_of(parts[0]))) for model in (proxied, parts[0])]
        assert generate(proxied, PROMPTS, decoding=decoding)[1] == generate(parts[0], PROMPTS, decoding=decoding)[0]
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one.logits[1], other.logits[0])
        assert not torch.equal(one.logits[0], other.logits[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_alpha_0_is_the_base_bit_for_bit_beside_rows_of_other_alphas(dtype: torch.dtype) -> None:
    parts = three("llama")
    for part in parts:
        part.module.to(dtype)
    inputs, rows = padded_left(parts[0]), torch.tensor([0, 1, 2, 1, 0])
    layout = Layout(prompts=inputs["attention_mask"].sum(1), variants=rows)
    with proxy(parts, (3.0, 0.0, -2.0)).on(parts[0]) as proxied, laid_out(layout), torch.no_grad():
        found, plain = proxied.module(**inputs).logits, parts[0].module(**inputs).logits.float()
    assert [torch.equal(one, other) for one, other in zip(found, plain, strict=True)] == (rows == 1).tolist()


def test_a_text_is_read_once_for_all_alphas() -> None:
    parts = three("llama")

    def tokens_read(model: LanguageModel, part: LanguageModel) -> int:
        seen: list[int] = []
        handle = part.anatomy.blocks[0].register_forward_hook(
            lambda module, args, output: seen.append(args[0].shape[0] * args[0].shape[1])
        )
        likelihoods(model, pairs_of(model))
        handle.remove()
        return sum(seen)

    expected = tokens_read(parts[0], parts[0])
    with proxy(parts, ALPHAS).on(parts[0]) as proxied:
        assert [tokens_read(proxied, part) for part in parts] == [expected] * 3


def test_where_alpha_is_0_nothing_of_the_others_enters_not_even_what_is_not_finite() -> None:
    base = torch.tensor([[[1.0, -0.0, -torch.inf]], [[1.0, -0.0, -torch.inf]]])
    expert, anti_expert = torch.full((2, 1, 3), torch.inf), torch.full((2, 1, 3), torch.nan)
    mixed = contrasted(base, expert, anti_expert, alphas=torch.tensor([[0.0, 1.0], [1.0, 0.0]]), vocabulary=3)
    for row, version in ((0, 0), (1, 1)):
        assert torch.equal(mixed[row, version].view(torch.int32), base[row].view(torch.int32))
        assert not torch.isfinite(mixed[row, 1 - version]).any()


def test_half_precision_is_added_in_single_precision() -> None:
    """Logits around twenty are an eighth apart in bfloat16; their sum must not be rounded to that again."""
    rng = torch.Generator().manual_seed(0)
    base, expert, anti = ((20 + torch.randn(2, 3, 9, generator=rng)).to(torch.bfloat16) for _ in range(3))
    mixed = contrasted(base, expert, anti, alphas=torch.tensor([[0.3, 1.7]]), vocabulary=9)
    exact = torch.stack([base.double() + alpha * (expert.double() - anti.double()) for alpha in (0.3, 1.7)], dim=1)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed.double(), exact, atol=1e-5, rtol=0)
    assert (mixed.to(torch.bfloat16).double() - exact).abs().max() > 1e-2


def test_the_expert_itself_speaks_where_the_anti_expert_is_the_base() -> None:
    base, expert, _ = three("llama")
    with ProxyTuning(expert=expert, anti_expert=base).on(base) as proxied:
        found = likelihoods(proxied, pairs_of(base))
        answers = generate(proxied, PROMPTS, decoding=Decoding(max_new_tokens=6))
    for one, other in zip(found[0], likelihoods(expert, pairs_of(base))[0], strict=True):
        np.testing.assert_allclose(one.log_probs, other.log_probs, atol=5e-5)
    assert answers == generate(expert, PROMPTS, decoding=Decoding(max_new_tokens=6))


@pytest.mark.parametrize("shared", ["anti-expert is base", "expert is base", "expert is anti-expert", "none"])
def test_a_network_in_two_places_is_run_once(shared: str) -> None:
    base, expert, anti_expert = three("gpt2")
    match shared:
        case "anti-expert is base":
            anti_expert = base
        case "expert is base":
            expert = LanguageModel.of(base.module, base.tokenizer)
        case "expert is anti-expert":
            anti_expert = expert
    passes: list[int] = []
    modules = {id(part.module): part.module for part in (base, expert, anti_expert)}
    handles = [
        module.get_decoder().register_forward_hook(lambda *_, place=place: passes.append(place))
        for place, module in enumerate(modules.values())
    ]
    with proxy((base, expert, anti_expert), (0.5,)).on(base) as proxied:
        found = generate(proxied, PROMPTS[:2], decoding=Decoding(max_new_tokens=5))
    for handle in handles:
        handle.remove()
    assert len(modules) == (3 if shared == "none" else 2)
    assert len({passes.count(place) for place in range(len(modules))}) == 1
    by_hand = [generated_by_hand((base, expert, anti_expert), prompt, 0.5, 5) for prompt in PROMPTS[:2]]
    assert [list(answer.tokens) for answer in found[0]] == by_hand


def test_a_small_expert_of_another_architecture_tunes_a_large_base() -> None:
    base = LanguageModel.of(tiny.build("gpt_neox", n_blocks=5, d_model=64), tiny.tokenizer())
    small = [
        LanguageModel.of(tiny.build(family, seed=3, n_blocks=n, d_model=16), tiny.tokenizer())
        for family, n in (("llama", 2), ("bloom", 1))
    ]
    parts = (base, small[0], small[1])
    with proxy(parts, (0.5, 1.5)).on(base) as proxied:
        assert (proxied.n_blocks, proxied.d_model) == (5, 64)
        answers = generate(proxied, PROMPTS, decoding=Decoding(max_new_tokens=6))
        scores = likelihoods(proxied, pairs_of(base))
    for alpha, answered, scored in zip((0.5, 1.5), answers, scores, strict=True):
        by_hand = [generated_by_hand(parts, prompt, alpha, 6) for prompt in PROMPTS]
        assert [list(answer.tokens) for answer in answered] == by_hand
        for pair, score in zip(pairs_of(base), scored, strict=True):
            np.testing.assert_allclose([score.log_probs], scored_by_hand(parts, pair, alpha), atol=5e-5)


@pytest.mark.parametrize("widths", [(300, 320, 258), (258, 300, 320), (320, 258, 300)])
def test_heads_may_be_padded_to_different_widths(widths: tuple[int, int, int]) -> None:
    base, expert, anti_expert = (model_of("llama", seed, vocab_size=width) for seed, width in enumerate(widths))
    parts = (base, expert, anti_expert)
    inputs = padded_left(base)
    with proxy(parts, (1.5,)).on(base) as proxied, torch.no_grad():
        logits, plain = proxied.module(**inputs).logits, base.module(**inputs).logits
        answers = generate(proxied, PROMPTS, decoding=Decoding(max_new_tokens=6))
        scores = likelihoods(proxied, pairs_of(base))
    assert logits.shape == plain.shape
    assert torch.equal(logits[..., 258:], plain[..., 258:])
    assert not torch.isclose(logits[..., :258], plain[..., :258]).all(-1).any()
    by_hand = [generated_by_hand(parts, prompt, 1.5, 6) for prompt in PROMPTS]
    assert [list(answer.tokens) for answer in answers[0]] == by_hand
    for pair, score in zip(pairs_of(base), scores[0], strict=True):
        np.testing.assert_allclose([score.log_probs], scored_by_hand(parts, pair, 1.5), atol=5e-5)


@pytest.mark.parametrize("batch_tokens", [1, 60, 300, 10_000])
def test_neighbours_in_a_batch_change_nothing(batch_tokens: int) -> None:
    parts = three("llama")
    decoding = Decoding(max_new_tokens=6, temperature=1.2, top_p=0.9, seed=4)
    pairs = pairs_of(parts[0])
    with proxy(parts, ALPHAS).on(parts[0]) as proxied:
        together = generate(proxied, PROMPTS, decoding=decoding), likelihoods(proxied, pairs)
        drawn = generate(proxied, PROMPTS, decoding=decoding, batch_tokens=batch_tokens)
        scores = likelihoods(proxied, pairs, batch_tokens=batch_tokens)
    assert drawn == together[0]
    for one, other in zip(scores, together[1], strict=True):
        for score, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(score.log_probs, expected.log_probs, atol=5e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_samples_are_drawn_from_the_mixed_logits_under_the_same_noise_for_every_alpha(family: str) -> None:
    parts = three(family)
    decoding = Decoding(max_new_tokens=5, temperature=1.7, seed=2)
    with proxy(parts, (0.0, 1.2)).on(parts[0]) as proxied:
        answers = generate(proxied, PROMPTS, decoding=decoding)
    for alpha, row in zip((0.0, 1.2), answers, strict=True):
        for place, (prompt, answer) in enumerate(zip(PROMPTS, row, strict=True)):
            tokens = list(parts[0].tokenizer(prompt).input_ids)
            for step, token in enumerate(answer.tokens):
                noise = generator(2, "decoding", place, step).gumbel(size=258)
                logits = logits_by_hand(parts, tokens, alpha)[0, -1].numpy() / 1.7
                assert token == (logits + noise).argmax()
                tokens.append(token)


def beams_by_hand(parts: Parts, text: str, alpha: float, *, beams: int, n: int) -> list[int]:
    """The likeliest of the kept continuations, without an end token."""
    start = tuple(parts[0].tokenizer(text).input_ids)
    kept: list[tuple[float, tuple[int, ...]]] = [(0.0, start)]
    for _ in range(n):
        grown = []
        for score, tokens in kept:
            log_probs = logits_by_hand(parts, tokens, alpha)[0, -1].log_softmax(-1)
            grown += [
                (score + float(log_probs[token]), (*tokens, int(token))) for token in log_probs.topk(beams).indices
            ]
        kept = sorted(grown, reverse=True)[:beams]
    return list(kept[0][1][len(start) :])


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_beam_search_of_the_module_itself_is_that_of_the_mixed_logits(family: str) -> None:
    parts = three(family)
    inputs = padded_left(parts[0])
    with proxy(parts, (0.8,)).on(parts[0]) as proxied:
        # No token ends a beam: the end is looked for beyond the vocabulary.
        found = proxied.module.generate(
            **inputs, num_beams=3, max_new_tokens=6, do_sample=False, eos_token_id=10_000, pad_token_id=1
        )
    written = found[:, inputs["input_ids"].shape[1] :].tolist()
    assert written == [beams_by_hand(parts, prompt, 0.8, beams=3, n=6) for prompt in PROMPTS]


@pytest.mark.parametrize("use_cache", [True, False])
def test_anybody_s_call_of_generate_is_tuned_by_proxy(use_cache: bool) -> None:
    parts = three("olmo2")
    inputs = padded_left(parts[0])
    with proxy(parts, (0.8,)).on(parts[0]) as proxied:
        found = proxied.module.generate(
            **inputs, max_new_tokens=6, do_sample=False, use_cache=use_cache, pad_token_id=1
        )
    written = [[token for token in row if token != 1] for row in found[:, inputs["input_ids"].shape[1] :].tolist()]
    assert written == [generated_by_hand(parts, prompt, 0.8, 6) for prompt in PROMPTS]


def test_an_answer_ends_at_stops_and_at_the_base_s_own_end_token() -> None:
    parts = three("llama")
    with proxy(parts).on(parts[0]) as proxied:
        (free,) = generate(proxied, PROMPTS[:2], decoding=Decoding(max_new_tokens=10))
        stop = free[0].text[3:5]
        (cut,) = generate(proxied, PROMPTS[:2], decoding=Decoding(max_new_tokens=10, stops=(stop,)))
        assert (cut[0].text, cut[0].ending) == (free[0].text[: free[0].text.index(stop)], "stop")
    parts[0].module.generation_config.eos_token_id = free[0].tokens[3]
    with proxy(parts).on(parts[0]) as proxied:
        (ended,) = generate(proxied, PROMPTS[:1], decoding=Decoding(max_new_tokens=10))
    first = free[0].tokens.index(free[0].tokens[3])
    assert (ended[0].tokens, ended[0].ending) == (free[0].tokens[:first], "eos")


def test_the_context_is_the_shortest_of_the_three() -> None:
    base, expert, anti_expert = three("llama")
    expert.module.config.max_position_embeddings = 40
    with proxy((base, expert, anti_expert)).on(base) as proxied:
        assert proxied.max_tokens == 40
        with pytest.raises(DataError, match="40 at most"):
            generate(proxied, ["x" * 39], decoding=Decoding(max_new_tokens=5))


def test_the_base_is_as_it_was_afterwards_however_the_body_ends() -> None:
    parts = three("llama")
    before = generate(parts[0], PROMPTS, decoding=Decoding(max_new_tokens=5))
    states = [dict(vars(part.module)) for part in parts]
    configs = [part.module.config.to_dict() for part in parts]
    weights = [{name: weight.clone() for name, weight in part.module.state_dict().items()} for part in parts]
    with pytest.raises(DataError), proxy(parts, ALPHAS).on(parts[0]) as proxied:  # noqa: PT012 - the body works before it fails
        generate(proxied, PROMPTS, decoding=Decoding(max_new_tokens=5))
        likelihoods(proxied, [*pairs_of(proxied), ((), ())])
    for part, state, config, weight in zip(parts, states, configs, weights, strict=True):
        assert dict(vars(part.module)) == state
        assert part.module.config.to_dict() == config
        assert all(torch.equal(weight[name], now) for name, now in part.module.state_dict().items())
    assert generate(parts[0], PROMPTS, decoding=Decoding(max_new_tokens=5)) == before


@pytest.mark.parametrize("order", ["steered, then tuned by proxy", "tuned by proxy, then steered"])
@pytest.mark.parametrize("several", ["alphas", "vectors"])
def test_a_vector_in_the_base_and_proxy_tuning_go_together(order: str, several: str) -> None:
    parts = three("llama")
    strengths, alphas = ((4.0,), (0.0, 0.9)) if several == "alphas" else ((-3.0, 4.0), (0.9,))
    settings = [(strength, alpha) for strength in strengths for alpha in alphas]
    steering = Steering(versions=tuple((add("block_1", unit(0), alpha=strength),) for strength in strengths))
    outer, inner = (steering, proxy(parts, alphas)) if order.startswith("steered") else (proxy(parts, alphas), steering)
    with outer.on(parts[0]) as once, inner.on(once) as twice:
        scores = likelihoods(twice, pairs_of(parts[0]))
        answers = generate(twice, PROMPTS, decoding=Decoding(max_new_tokens=3))
    assert len(answers) == len(scores) == 2
    for (strength, alpha), row in zip(settings, scores, strict=True):
        for pair, score in zip(pairs_of(parts[0]), row, strict=True):
            edits = [add("block_1", unit(0), alpha=strength)]
            with edited_by_hand(parts[0], edits, "prompt_last+generated", len(pair[0])):
                expected = scored_by_hand(parts, pair, alpha)
            np.testing.assert_allclose([score.log_probs], expected, atol=5e-5)


def test_a_steered_expert_is_an_expert() -> None:
    parts = three("gpt_neox")
    steering = Steering.of([add("block_1", unit(0), alpha=5.0)])
    with steering.on(parts[1]) as expert, proxy((parts[0], expert, parts[2])).on(parts[0]) as proxied:
        (scores,) = likelihoods(proxied, pairs_of(parts[0]))
    for pair, score in zip(pairs_of(parts[0]), scores, strict=True):
        with edited_by_hand(parts[1], [add("block_1", unit(0), alpha=5.0)], "prompt_last+generated", len(pair[0])):
            np.testing.assert_allclose([score.log_probs], scored_by_hand(parts, pair, 1.0), atol=5e-5)


def test_an_instruction_is_read_by_all_three() -> None:
    parts = three("llama")
    with Prompting(instruction="Be kind. ").on(parts[0]) as told, proxy(parts).on(told) as proxied:
        (answers,) = generate(proxied, PROMPTS, decoding=Decoding(max_new_tokens=5))
    by_hand = [generated_by_hand(parts, "Be kind. " + prompt, 1.0, 5) for prompt in PROMPTS]
    assert [list(answer.tokens) for answer in answers] == by_hand


def test_the_harness_asks_every_alpha() -> None:
    parts = three("llama")
    requests = [(prompt, answer) for prompt in PROMPTS for answer in (" yes", " no")]
    instances = [Instance(request_type="loglikelihood", doc={}, arguments=each, idx=0) for each in requests]
    with proxy(parts, (0.0, 1.5)).on(parts[0]) as proxied:
        live = LiveModel(proxied)
        found = [[total for total, _ in live.of(variant).loglikelihood(instances)] for variant in range(2)]
    by_hand = [scored_by_hand(parts, encode_pair(parts[0], *each), 0.0, 1.5).sum(1) for each in requests]
    np.testing.assert_allclose(found, np.array(by_hand).T, atol=1e-4)


def test_models_of_different_vocabularies_are_refused() -> None:
    base, expert, anti_expert = three("llama")
    other = LanguageModel.of(expert.module, tiny.tokenizer(texts=["abab cdcd"] * 9, vocab_size=260))
    assert len(other.tokenizer) != len(base.tokenizer)
    for parts in ((base, other, anti_expert), (base, expert, other), (other, expert, anti_expert)):
        with pytest.raises(TokenizerError, match="is not that of"), proxy(parts).on(parts[0]):
            pass


@pytest.mark.parametrize("narrow", [0, 1, 2])
def test_a_head_without_room_for_the_vocabulary_is_refused(narrow: int) -> None:
    base, expert, anti_expert = (
        model_of("llama", seed, vocab_size=250 if seed == narrow else 258) for seed in range(3)
    )
    parts = (base, expert, anti_expert)
    with (
        pytest.raises(TokenizerError, match="logits for 250 tokens, but the vocabulary has 258"),
        proxy(parts).on(base),
    ):
        pass


def test_a_special_token_that_no_head_has_is_no_obstacle() -> None:
    parts = three("llama")
    for part in parts:
        part.tokenizer.add_special_tokens({"pad_token": "<pad>"})
    with proxy(parts).on(parts[0]) as proxied:
        (answers,) = generate(proxied, PROMPTS, decoding=Decoding(max_new_tokens=4))
    assert len(parts[0].tokenizer) == 259
    assert [list(answer.tokens) for answer in answers] == [generated_by_hand(parts, text, 1.0, 4) for text in PROMPTS]


def with_a_token_more(model: LanguageModel, *, is_special: bool = True) -> LanguageModel:
    """The same model after a tuning that added a token for turns, with a row of its own in the head."""
    module, tokenizer = copy.deepcopy(model.module), copy.deepcopy(model.tokenizer)
    tokenizer.add_tokens(["<turn>"], special_tokens=is_special)
    module.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return LanguageModel.of(module, tokenizer)


@pytest.mark.parametrize("who", ["expert", "anti_expert"])
def test_a_special_token_that_tuning_added_changes_nothing_of_what_the_base_knows(who: str) -> None:
    base, expert, anti_expert = three("llama")
    tuning = ProxyTuning(expert=expert, anti_expert=anti_expert, alphas=ALPHAS)
    longer = with_a_token_more(getattr(tuning, who))
    extended = replace(tuning, expert=longer) if who == "expert" else replace(tuning, anti_expert=longer)
    assert len(longer.tokenizer) == len(base.tokenizer) + 1
    pairs = pairs_of(base)
    with tuning.on(base) as proxied, extended.on(base) as with_it:
        wanted, found = (list(read_logits(model, pairs)) for model in (proxied, with_it))
        answers = [generate(one, PROMPTS, decoding=Decoding(max_new_tokens=4)) for one in (proxied, with_it)]
    assert all(torch.equal(one.logits, other.logits) for one, other in zip(wanted, found, strict=True))
    assert answers[0] == answers[1]


def test_what_a_base_has_and_an_expert_lacks_and_what_is_no_special_token_are_refused() -> None:
    base, expert, anti_expert = three("llama")
    wordy = with_a_token_more(expert, is_special=False)
    for parts in ((base, wordy, anti_expert), (with_a_token_more(base), expert, anti_expert)):
        with pytest.raises(TokenizerError, match="is not that of"), proxy(parts).on(parts[0]):
            pass


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        ({"a": 0, "b": 1}, True),
        ({"a": 0, "b": 1, "<t>": 2, "<u>": 4}, True),
        ({"a": 1, "b": 0}, False),
        ({"a": 0, "b": 2, "<t>": 1}, False),
        ({"a": 0, "<t>": 1}, False),
        ({"a": 0, "b": 1, "c": 2}, False),
        ({"a": 0, "b": 1, "<t>": 1}, False),
    ],
)
def test_a_vocabulary_is_extended_by_special_tokens_after_it_alone(words: dict[str, int], is_one: bool) -> None:
    assert extends(words, {"a": 0, "b": 1}, special={"<t>", "<u>"}) == is_one


@pytest.mark.parametrize("alphas", [(), (1.0, float("nan")), (float("inf"),)])
@pytest.mark.usefixtures("untyped")
def test_alphas_that_are_no_numbers_are_refused(alphas: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="finite"):
        proxy(three("llama"), alphas)


def test_several_versions_twice_are_refused() -> None:
    base, expert, anti_expert = three("llama")
    steering = Steering(versions=((), (add("block_1", unit(0)),)))
    with steering.on(base) as steered, pytest.raises(ModelError, match="2 versions already"):
        proxy((base, expert, anti_expert), (0.0, 1.0)).on(steered).__enter__()
    with steering.on(expert) as several, pytest.raises(ModelError, match="one version each"):
        proxy((base, several, anti_expert)).on(base).__enter__()
    with pytest.raises(ModelError, match="said by the base"):
        proxy((base, replace(expert, preamble=(3,)), anti_expert)).on(base).__enter__()


def test_what_is_tuned_by_proxy_is_not_tuned_by_proxy_again() -> None:
    parts = three("llama")
    with proxy(parts).on(parts[0]) as proxied:
        for again in ((proxied, *parts[1:]), (parts[0], proxied, parts[2])):
            with pytest.raises(ModelError, match="tuned by proxy already"):
                proxy(again).on(again[0]).__enter__()


def test_whose_row_is_whose_must_be_known_where_there_are_several_alphas() -> None:
    parts = three("llama")
    with proxy(parts, ALPHAS).on(parts[0]) as proxied, pytest.raises(ModelError, match="whose row is whose"):
        proxied.module.generate(torch.tensor([[3, 4, 5]]), max_new_tokens=2, pad_token_id=1)

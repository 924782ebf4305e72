"""Proxy-tuned generation against what it would cost to let base, expert and anti-expert each write as much alone.

Both sides answer the same batch with as many new tokens, and no token ends an answer. The three models have the weights of the example's
Llama, drawn apart. Ours reads every prompt three times, as the other side does, and mixes three logits at every token; it has one loop of
generation where the other side has three. All times are the processor's for this process. Answers at alpha 0 are compared token for token
with those of the base.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.example import llama
from benchmarks.rows import Row
from trustrace.datasets.questions import in_half, truthfulqa_questions
from trustrace.evaluation.primers import TRUE_PRIMER, ask
from trustrace.interventions.proxy import ProxyTuning
from trustrace.models.generation import Decoding, generate
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import encode_pair, likelihoods

BATCH = 32
NEW_TOKENS = 20
REPEATS = 5
ALPHAS = (0.0, 0.5, 1.0, 2.0)


def run() -> Iterator[Row]:
    parts = _three()
    questions = [question.text for question in in_half(truthfulqa_questions(seed=0), "test", limit=BATCH)]
    primed = [ask(question, TRUE_PRIMER) for question in questions]
    yield _generation(parts, questions, what="questions that share no beginning")
    yield _generation(parts, primed, what="questions with the 6-shot primer")
    yield _scoring(parts, questions)


def _three() -> tuple[LanguageModel, LanguageModel, LanguageModel]:
    """The example's Llama with three draws of blocks three times as strong, so that answers differ, and with no end of an answer."""
    first = llama()
    first.tokenizer.pad_token = first.tokenizer.eos_token
    base, expert, anti_expert = (_drawn(first, seed) for seed in range(3))
    return base, expert, anti_expert


def _drawn(model: LanguageModel, seed: int) -> LanguageModel:
    module = copy.deepcopy(model.module)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim == 2:
                weight.normal_(0.0, 0.06, generator=rng)
    # Beyond the vocabulary: it is looked for at every step, and never found.
    module.generation_config.eos_token_id = module.config.vocab_size
    module.generation_config.pad_token_id = model.tokenizer.eos_token_id
    return LanguageModel.of(module, model.tokenizer)


def _generation(parts: Sequence[LanguageModel], prompts: Sequence[str], *, what: str) -> Row:
    base, expert, anti_expert = parts
    decoding = Decoding(max_new_tokens=NEW_TOKENS)
    with ProxyTuning(expert=expert, anti_expert=anti_expert).on(base) as proxied:
        ours, theirs = _interleaved(
            lambda: generate(proxied, prompts, decoding=decoding),
            lambda: [_written(part, _encoded(part, prompts)) for part in parts],
            repeats=REPEATS,
        )
    with ProxyTuning(expert=expert, anti_expert=anti_expert, alphas=(0.0,)).on(base) as unmoved:
        (answers,) = generate(unmoved, prompts, decoding=decoding)
    alike = [
        list(answer.tokens) == written
        for answer, written in zip(answers, _written(base, _encoded(base, prompts)), strict=True)
    ]
    distinct = len({answer.tokens for answer in answers})
    return Row.of(
        (theirs / ours).tolist(),
        what=f"proxy-tuned generation, a batch of {len(prompts)} {what}, three equal models, {NEW_TOKENS} new tokens",
        baseline="three separate generate calls of the same length, added",
        reach=1.0,
        detail=(
            f"{REPEATS} repeats, {np.median(theirs):.2f} s against {np.median(ours):.2f} s a batch; at alpha 0 {sum(alike)} of "
            f"{len(alike)} answers are the base's token for token, {distinct} of them distinct"
        ),
        threads=torch.get_num_threads(),
    )


def _scoring(parts: Sequence[LanguageModel], prompts: Sequence[str]) -> Row:
    """All alphas in one reading, which is compared with the alphas one by one."""
    base, expert, anti_expert = parts
    pairs = [encode_pair(base, prompt, answer) for prompt in prompts for answer in (" Yes, it is.", " No, it is not.")]

    def scored(*alphas: float) -> list[list[float]]:
        with ProxyTuning(expert=expert, anti_expert=anti_expert, alphas=alphas).on(base) as proxied:
            return [[each.total for each in row] for row in likelihoods(proxied, pairs)]

    ours, theirs = _interleaved(lambda: scored(*ALPHAS), lambda: [scored(alpha) for alpha in ALPHAS], repeats=REPEATS)
    error = np.abs(np.array(scored(*ALPHAS)) - np.concatenate([scored(alpha) for alpha in ALPHAS])).max()
    return Row.of(
        (theirs / ours).tolist(),
        what=f"likelihoods of {len(pairs)} continuations under {len(ALPHAS)} alphas at once",
        baseline="the same alphas one after another",
        reach=0.75 * len(ALPHAS),
        detail=f"{np.median(theirs):.2f} s against {np.median(ours):.2f} s; they differ by {error:.1e} nats at most",
        threads=torch.get_num_threads(),
    )


def _interleaved(ours: Callable[[], object], theirs: Callable[[], object], *, repeats: int) -> Sequence[np.ndarray]:
    """The processor's seconds of both, one after the other, the order turning round at every repeat."""
    spent: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}
    for repeat in range(repeats):
        for work in list(spent)[:: 1 if repeat % 2 else -1]:
            start = time.process_time()
            work()
            spent[work].append(time.process_time() - start)
    return [np.array(times) for times in spent.values()]


def _encoded(model: LanguageModel, prompts: Sequence[str]) -> dict[str, Tensor]:
    return dict(
        model.tokenizer(
            list(prompts), return_tensors="pt", padding=True, padding_side="left", return_token_type_ids=False
        )
    )


def _written(model: LanguageModel, inputs: dict[str, Tensor]) -> list[list[int]]:
    written = model.module.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    answers: list[list[int]] = written[:, inputs["input_ids"].shape[1] :].tolist()
    model.tokenizer.batch_decode(answers, skip_special_tokens=True)
    return answers

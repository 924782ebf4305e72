"""A sweep over steering vectors, one steered batch, and 0/1 questions, against the loop of the paper's scripts.

The scripts ask one question at a time under one setting at a time: Hugging Face's `generate`, with a forward hook that adds to the last
token of every pass. All of a sweep would take half an hour in that way, so that the loop answers pairs of question and setting drawn at
random, half of them before ours and half after it; ours goes through all questions and settings, a part of the questions in each repeat.
The answers to the drawn pairs are compared token for token. All times are the processor's for this process, per answer: both sides compute
with as many threads, and waiting for a neighbour is nobody's merit.

A random Llama of the usual weights writes one token again and again whatever is asked, and equal answers would mean nothing. Blocks of
three times those weights give a different answer to nearly every question and setting. No token ends an answer, so that all are as long.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.example import llama
from benchmarks.rows import Row
from trustrace.core.draws import generator
from trustrace.core.progress import silent
from trustrace.core.statements import Statements
from trustrace.datasets import catalog
from trustrace.datasets.questions import in_half, truthfulqa_questions
from trustrace.evaluation.binary import BinaryTask, Template, answer_pairs
from trustrace.evaluation.primers import TRUE_PRIMER, ask
from trustrace.interventions.edits import add
from trustrace.interventions.steering import Steering
from trustrace.models.generation import Decoding, generate
from trustrace.models.language_model import LanguageModel

BLOCKS = (1, 2, 3, 4)
ALPHAS = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
NEW_TOKENS = 20
SWEEP_REPEATS, BINARY_REPEATS = 5, 3
PAIRS, PROMPTS = 16, 64
"""How many answers of the loop are timed in each repeat of the sweep and of the 0/1 questions."""

NEAR_TIE = 1e-3
"""Two tokens whose logits differ by less may change places by rounding: here logits are of the order of ten."""

Setting = tuple[int, float]
Vectors = dict[int, Float[Tensor, " d_model"]]
Answer = tuple[int, ...]

SETTINGS: tuple[Setting, ...] = tuple(product(BLOCKS, ALPHAS))


def run() -> Iterator[Row]:
    model = _talkative()
    questions = [question.text for question in in_half(truthfulqa_questions(seed=0), "test", limit=100)]
    prompts = [ask(question, TRUE_PRIMER) for question in questions]
    vectors = _vectors(model, prompts[0])
    yield _sweep(model, prompts, vectors)
    yield _batch(model, questions[:64], vectors, what="questions that share no beginning", repeats=7)
    yield _batch(model, prompts[:64], vectors, what="questions with the 6-shot primer", repeats=3)
    yield _binary(model)


def _talkative() -> LanguageModel:
    """The example's Llama with strong blocks, the same at every run, whose answers end where they must."""
    torch.manual_seed(0)
    model = llama()
    with torch.no_grad():
        for weight in model.anatomy.blocks.parameters():
            if weight.ndim == 2:
                weight.mul_(3)
    model.tokenizer.pad_token = model.tokenizer.eos_token
    # Beyond the vocabulary: `generate` looks for it at every step, as it does for any other, and does not find it.
    model.module.generation_config.eos_token_id = model.module.config.vocab_size
    model.module.generation_config.pad_token_id = model.tokenizer.eos_token_id
    return model


def _vectors(model: LanguageModel, prompt: str) -> Vectors:
    """For each block a random direction, as long as the residual stream after `prompt` is there."""
    with torch.no_grad():
        streams = model.module(**_encoded(model, [prompt]), output_hidden_states=True).hidden_states
    rng = generator(0, "benchmark", "vectors")
    directions = {block: torch.from_numpy(rng.normal(size=model.d_model)).float() for block in BLOCKS}
    return {
        block: direction / direction.norm() * streams[block + 1][0, -1].norm()
        for block, direction in directions.items()
    }


def _sweep(model: LanguageModel, prompts: Sequence[str], vectors: Vectors) -> Row:
    ratios, details, written, ties, compared = [], [], set[Answer](), 0, 0
    for repeat in range(SWEEP_REPEATS):
        asked = prompts[repeat::SWEEP_REPEATS]
        drawn = _drawn(len(asked) * len(SETTINGS), PAIRS, repeat)
        pairs = [(asked[place // len(SETTINGS)], SETTINGS[place % len(SETTINGS)]) for place in drawn]
        answers: dict[tuple[str, Setting], Answer] = {}
        theirs: list[Answer] = []
        before = _seconds(lambda: theirs.extend(_one_at_a_time(model, pairs[::2], vectors)))  # noqa: B023 - called at once
        ours = _seconds(lambda: answers.update(_all_at_once(model, asked, vectors)))  # noqa: B023 - called at once
        after = _seconds(lambda: theirs.extend(_one_at_a_time(model, pairs[1::2], vectors)))  # noqa: B023 - called at once
        ties += sum(
            _is_tied(model, pair, vectors, ours=answers[pair])
            for pair, answer in zip(pairs[::2] + pairs[1::2], theirs, strict=True)
            if answer != answers[pair]
        )
        compared, written = compared + len(pairs), written | set(answers.values())
        loop, one = (before + after) / len(pairs), ours / len(answers)
        ratios.append(loop / one)
        details.append(f"{1e3 * loop:.0f} ms against {1e3 * one:.1f} ms")
    detail = (
        f"an answer: {'; '.join(details)}; the loop on {compared} pairs of question and setting drawn from all of ours; of these answers "
        f"{compared - ties} are the same token for token, {ties} part at a near-tie; {len(written)} distinct answers"
    )
    return Row.of(
        ratios,
        what=f"sweep: {len(prompts)} TruthfulQA questions with the 6-shot primer, 4 layers x 8 alphas, {NEW_TOKENS} new tokens",
        baseline="the scripts' loop: one question, one setting at a time, generate with a hook",
        reach=10.0,
        detail=detail,
        threads=torch.get_num_threads(),
    )


def _seconds(work: Callable[[], object]) -> float:
    """The processor's time for `work`."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _drawn(among: int, count: int, repeat: int) -> list[int]:
    return [int(place) for place in generator(0, "benchmark", "drawn", repeat).permutation(among)[:count]]


def _all_at_once(model: LanguageModel, prompts: Sequence[str], vectors: Vectors) -> dict[tuple[str, Setting], Answer]:
    with _steering(SETTINGS, vectors).on(model) as steered:
        responses = generate(steered, prompts, decoding=Decoding(max_new_tokens=NEW_TOKENS))
    return {
        (prompt, setting): response.tokens
        for setting, variant in zip(SETTINGS, responses, strict=True)
        for prompt, response in zip(prompts, variant, strict=True)
    }


def _steering(settings: Sequence[Setting], vectors: Vectors) -> Steering:
    return Steering(versions=tuple((add(f"block_{block}", vectors[block], alpha=alpha),) for block, alpha in settings))


def _one_at_a_time(model: LanguageModel, pairs: Sequence[tuple[str, Setting]], vectors: Vectors) -> list[Answer]:
    """What the scripts do."""
    answers = []
    for prompt, (block, alpha) in pairs:
        inputs = _encoded(model, [prompt])
        with _hooked(model, block, alpha * vectors[block]):
            answers.append(_generated(model, inputs)[0])
    return answers


def _encoded(model: LanguageModel, prompts: Sequence[str]) -> dict[str, Tensor]:
    return dict(
        model.tokenizer(
            list(prompts), return_tensors="pt", padding=True, padding_side="left", return_token_type_ids=False
        )
    )


@contextmanager
def _hooked(model: LanguageModel, block: int, shift: Float[Tensor, " d_model"]) -> Iterator[None]:
    def hook(module: torch.nn.Module, args: object, output: Tensor) -> None:
        output[:, -1, :] += shift

    handle = model.anatomy.blocks[block].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _generated(model: LanguageModel, inputs: dict[str, Tensor], new_tokens: int = NEW_TOKENS) -> list[Answer]:
    written = model.module.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
    answers = written[:, inputs["input_ids"].shape[1] :].tolist()
    model.tokenizer.batch_decode(answers, skip_special_tokens=True)
    return [tuple(answer) for answer in answers]


def _is_tied(model: LanguageModel, pair: tuple[str, Setting], vectors: Vectors, *, ours: Answer) -> bool:
    """Whether the loop's answer parts from ours where its two candidates are nearly equally likely.

    Raises:
        SystemExit: they are not.
    """
    prompt, (block, alpha) = pair
    inputs = _encoded(model, [prompt])
    with _hooked(model, block, alpha * vectors[block]):
        found = model.module.generate(
            **inputs,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    theirs = found.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    step = next(step for step, (one, other) in enumerate(zip(theirs, ours, strict=True)) if one != other)
    logits = found.logits[step][0]
    lead = float(logits[theirs[step]] - logits[ours[step]])
    if lead >= NEAR_TIE:
        raise SystemExit(
            f"{pair}: token {step} is {ours[step]}, but {theirs[step]} in the scripts' loop, by {lead:.3g}"
        )
    return True


def _batch(model: LanguageModel, prompts: Sequence[str], vectors: Vectors, *, what: str, repeats: int) -> Row:
    """The order turns round at every repeat."""
    steering, decoding = _steering(SETTINGS[5:6], vectors), Decoding(max_new_tokens=NEW_TOKENS)
    works: dict[str, Callable[[LanguageModel], object]] = {
        "plain": lambda plain: _generated(plain, _encoded(plain, prompts)),
        "ours": lambda steered: generate(steered, prompts, decoding=decoding),
        "theirs": lambda steered: _generated(steered, _encoded(steered, prompts)),
    }
    spent: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats):
        for name in list(works)[:: 1 if repeat % 2 else -1]:
            with steering.on(model) if name != "plain" else nullcontext(model) as asked:
                spent[name].append(_seconds(lambda: works[name](asked)))  # noqa: B023 - called at once
    plain, ours, theirs = (np.array(times) for times in spent.values())
    return Row.of(
        (plain / ours).tolist(),
        what=f"steered generation, one setting, a batch of {len(prompts)} {what}, {NEW_TOKENS} new tokens",
        baseline="unsteered generate, the same batch, padded on the left",
        reach=0.95,
        detail=(
            f"{repeats} repeats, {np.median(plain):.2f} s against {np.median(ours):.2f} s a batch; "
            f"generate of the steered module itself {np.median(plain / theirs):.2f}x"
        ),
        threads=torch.get_num_threads(),
    )


def _binary(model: LanguageModel) -> Row:
    """Log-probabilities of both answers, which are compared with those of plain forward passes, against two tokens written by the loop."""
    statements = catalog.load("fairness/published")
    asked = _task(statements, Template.of(statements))
    ratios, details, errors = zip(*(_scored(model, asked, repeat) for repeat in range(BINARY_REPEATS)), strict=True)
    theirs, _, error = _scored(model, _task(statements, Template.published(statements)), 0)
    detail = (
        f"a statement: {'; '.join(details)}; all by us, {PROMPTS} drawn ones by the loop in each repeat, whose log-odds differ from those "
        f"of plain forward passes by {max(*errors, error):.1e} nats at most; with the shorter question of the scripts {theirs:.2f}x, once"
    )
    return Row.of(
        ratios,
        what=f"0/1 scoring of the {len(statements):,} StereoSet statements by log-probabilities",
        baseline="the scripts' loop with the same question: one statement at a time, two tokens by generate",
        reach=5.0,
        detail=detail,
        threads=torch.get_num_threads(),
    )


def _scored(model: LanguageModel, task: BinaryTask, repeat: int) -> tuple[float, str, float]:
    """How many times faster ours is, the times, and the largest difference of log-odds to plain forward passes."""
    drawn = _drawn(len(task.texts), PROMPTS, repeat)
    prompts = [task.template.prompt(task.texts[place]) for place in drawn]
    found: list[float] = []
    before = _seconds(lambda: _answer_each(model, prompts[::2]))
    ours = _seconds(lambda: found.extend(_all_log_odds(model, task)))
    after = _seconds(lambda: _answer_each(model, prompts[1::2]))
    errors = [abs(found[place] - _log_odds(model, prompt)) for place, prompt in zip(drawn, prompts, strict=True)]
    loop, one = (before + after) / len(prompts), ours / len(found)
    return loop / one, f"{1e3 * loop:.0f} ms against {1e3 * one:.1f} ms", max(errors)


def _all_log_odds(model: LanguageModel, task: BinaryTask) -> list[float]:
    (outcome,) = task.run(model, batch_tokens=None, progress=silent)
    return [float(sample["log_odds"]) for sample in outcome.samples]


def _task(statements: Statements, template: Template) -> BinaryTask:
    return BinaryTask(
        name="benchmark",
        dataset=statements.name,
        dimension=statements.dimension,
        texts=statements.texts,
        labels=statements.labels,
        groups=statements.groups,
        template=template,
    )


def _answer_each(model: LanguageModel, prompts: Sequence[str]) -> None:
    for prompt in prompts:
        _generated(model, _encoded(model, [prompt]), new_tokens=2)


def _log_odds(model: LanguageModel, prompt: str) -> float:
    """Log-probability of 1 less that of 0, by one pass for each."""
    found = []
    for context, answer in answer_pairs(model, prompt):
        with torch.no_grad():
            logits = model.module(torch.tensor([context + answer])).logits[0, len(context) - 1 : -1]
        found.append(float(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum()))
    return found[1] - found[0]

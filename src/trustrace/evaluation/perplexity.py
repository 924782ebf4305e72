"""Perplexity under three names: of LAMBADA's last words, of LAMBADA's passages, and of any text file.

They are different numbers and are never to be compared with each other. The perplexity of a last word counts words, each of several tokens;
the other two count tokens, so that they depend on the tokenizer as well as on the model.

References:
    Paperno et al. (2016), The LAMBADA dataset; Radford et al. (2019), Language models are unsupervised multitask learners.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError, DataError
from trustrace.core.progress import Progress, silent
from trustrace.datasets import lambada
from trustrace.datasets.questions import Half
from trustrace.evaluation.fitting import fitted, is_too_long
from trustrace.evaluation.outcomes import Graded, Outcome
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import Likelihood, encode_pair, likelihoods

WIDEST = 2048
"""The longest window of a text, for models that would read longer ones: numbers of different models then have like contexts."""

NARROWEST = 8


@dataclass(frozen=True, kw_only=True)
class LambadaLastWord:
    """The last word of each passage, as lm-evaluation-harness's ``lambada_openai`` defines it.

    ``perplexity`` is exp(- mean over passages of ln p(last word)), where ln p sums over the word's tokens, the space before it included;
    ``accuracy`` is the share of passages whose last word is what greedy decoding would write.

    Attributes:
        limit: How many passages, drawn without replacement; all if not given. Those of a smaller limit are among those of a larger one.
        seed: The seed of that draw.
        data_dir: The folder of data.
        half: Passages to choose a setting by, or to report it on: the draw's passages in turn. All if not given.
    """

    limit: int | None = None
    seed: int = 0
    data_dir: Path | None = None
    half: Half | None = None

    def __post_init__(self) -> None:
        _positive(self.limit)

    @property
    def name(self) -> str:
        """What the task is called."""
        return "lambada_last_word"

    def run(
        self, model: LanguageModel, *, batch_tokens: int | None = None, progress: Progress = silent
    ) -> Sequence[Outcome]:
        """One outcome for each of the model's variants.

        Raises:
            DataError: the passages cannot be had, or a last word is longer than the context.
            ConfigError: the limit is not positive.
        """
        texts = drawn(lambada.passages(data_dir=self.data_dir), limit=self.limit, seed=self.seed, half=self.half)
        whole = [encode_pair(model, *lambada.last_word(text)) for _, text in texts]
        cut = sum(is_too_long(model, *pair) for pair in whole)
        pairs = [fitted(model, *pair) for pair in whole]
        note = (
            f"{cut} of {len(texts)} passages lost their beginning to fit {model.max_tokens} tokens{_beside(model)}; "
            f"{_unknown(model, [prompt + word for prompt, word in pairs])}"
        )
        found = likelihoods(model, pairs, batch_tokens=batch_tokens, progress=progress)
        return [self._outcome(texts, row, note) for row in found]

    def _outcome(self, texts: Sequence[tuple[int, str]], found: Sequence[Likelihood], note: str) -> Outcome:
        losses = np.array([-each.total for each in found])
        groups = tuple(str(place) for place, _ in texts)
        perplexity = _perplexity(losses, np.ones_like(losses), groups, f"per last word; {note}")
        accuracy = Graded(
            quantity="accuracy",
            method="log_probability",
            values=np.array([[float(each.is_greedy)] for each in found]),
            groups=groups,
            note=note,
        )
        samples = tuple(
            {
                "passage": place,
                "context": lambada.last_word(text)[0],
                "last_word": lambada.last_word(text)[1],
                "log_probability": each.total,
                "is_greedy": each.is_greedy,
            }
            for (place, text), each in zip(texts, found, strict=True)
        )
        return Outcome(dataset=self.name, graded=(perplexity, accuracy), samples=samples)


@dataclass(frozen=True, kw_only=True)
class LambadaText:
    """Every token of each passage: ``perplexity`` is exp(- sum of ln p / number of tokens) over all passages together.

    Attributes:
        limit: As for :class:`LambadaLastWord`.
        seed: The seed of that draw.
        data_dir: The folder of data.
        half: Passages to choose a setting by, or to report it on: the draw's passages in turn. All if not given.
    """

    limit: int | None = None
    seed: int = 0
    data_dir: Path | None = None
    half: Half | None = None

    def __post_init__(self) -> None:
        _positive(self.limit)

    @property
    def name(self) -> str:
        """What the task is called."""
        return "lambada_text"

    def run(
        self, model: LanguageModel, *, batch_tokens: int | None = None, progress: Progress = silent
    ) -> Sequence[Outcome]:
        """One outcome for each of the model's variants; an item is a passage.

        Raises:
            DataError: the passages cannot be had.
            ConfigError: the limit is not positive.
        """
        texts = drawn(lambada.passages(data_dir=self.data_dir), limit=self.limit, seed=self.seed, half=self.half)
        return of_passages(model, texts, name=self.name, batch_tokens=batch_tokens, progress=progress)


def of_passages(
    model: LanguageModel,
    texts: Sequence[tuple[int, str]],
    *,
    name: str,
    batch_tokens: int | None = None,
    progress: Progress = silent,
) -> Sequence[Outcome]:
    """The perplexity per token of whole `texts`, each with its place; an item is a text."""
    encoded = [_tokens(model, text) for _, text in texts]
    width = _width(model, None)
    cut = [windows(tokens, bos=model.tokenizer.bos_token_id, width=width) for tokens in encoded]
    owners = [item for item, of_one in enumerate(cut) for _ in of_one]
    every = [window for of_one in cut for window in of_one]
    policy = _policy(model, width, widest=WIDEST)
    note = f"per token of whole passages; {policy}; {_unknown(model, encoded)}"
    groups = tuple(str(place) for place, _ in texts)
    outcomes = []
    for losses, counts in _losses(model, every, batch_tokens=batch_tokens, progress=progress):
        loss = np.bincount(owners, weights=losses, minlength=len(texts))
        count = np.bincount(owners, weights=counts, minlength=len(texts))
        samples = tuple(
            {"passage": place, "text": text, "loss": float(loss[item]), "tokens": int(count[item])}
            for item, (place, text) in enumerate(texts)
        )
        outcomes.append(Outcome(dataset=name, graded=(_perplexity(loss, count, groups, note),), samples=samples))
    return outcomes


@dataclass(frozen=True, kw_only=True)
class TextPerplexity:
    """Every token of a text file: ``perplexity`` is exp(- sum of ln p / number of tokens).

    The text is read in windows, see :func:`windows`. An item is a window; neighbouring windows are about the same things, so that an
    interval over them says how much the number varies within this text, not between texts.

    Attributes:
        path: A UTF-8 text.
        width: Tokens of a window; the model's context less its preamble, at most :data:`WIDEST`, if not given.
        limit: How many tokens from the start of the text, or of its half, are read; all if not given.
        half: Which half of the text, see :func:`half_of`: to choose a setting by, or to report it on. All of it if not given.
    """

    path: Path
    width: int | None = None
    limit: int | None = None
    half: Half | None = None

    @property
    def name(self) -> str:
        """What the task is called."""
        return f"text:{self.path.name}"

    def run(
        self, model: LanguageModel, *, batch_tokens: int | None = None, progress: Progress = silent
    ) -> Sequence[Outcome]:
        """One outcome for each of the model's variants.

        Raises:
            DataError: the file cannot be read or is empty.
            ConfigError: the width does not fit the model, or the limit is not positive.
        """
        width = _width(model, self.width)
        text = _content(self.path)
        tokens = _tokens(model, half_of(text, self.half) if self.half else text)[: _positive(self.limit)]
        every = windows(tokens, bos=model.tokenizer.bos_token_id, width=width)
        if not every:
            where = f"the {self.half} half of {self.path}" if self.half else self.path
            raise DataError(f"{where} has {len(tokens)} tokens, none of which can be predicted; give a longer text")
        part = f" of the {self.half} half of the text" if self.half else ""
        note = f"per token{part}; {_policy(model, width, widest=self.width or WIDEST)}; {_unknown(model, [tokens])}"
        groups = tuple(str(place) for place in range(len(every)))
        return [
            Outcome(dataset=self.name, graded=(_perplexity(losses, counts, groups, note),))
            for losses, counts in _losses(model, every, batch_tokens=batch_tokens, progress=progress)
        ]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of a text, of which the last tokens are scored.

    Attributes:
        prompt: Its first token.
        continuation: The others.
        scored: How many of them, counted from the end, are scored here; those before were scored in the window before.
    """

    prompt: tuple[int, ...]
    continuation: tuple[int, ...]
    scored: int


def windows(tokens: Sequence[int], *, bos: int | None, width: int) -> tuple[Window, ...]:
    """Windows of at most `width` tokens, in which every token of a text is scored once.

    Each window begins with the beginning-of-sequence token, where there is one; else with a token of the text, and then the first token
    of the text is never scored. The first window scores all it holds; each later one moves on by half the width and scores what is new,
    after at least half a window of context. What a window holds beyond its first token is continuation, scored or not: a model that is
    changed in continuations is changed in the whole text.

    Args:
        tokens: The text, without special tokens.
        bos: The beginning-of-sequence token.
        width: Tokens of a window, the beginning-of-sequence token included.
    """
    lead = () if bos is None else (bos,)
    room, stride = width - len(lead), width // 2
    found: list[Window] = []
    end = 1 - len(lead)
    while end < len(tokens):
        upto = min(len(tokens), end + stride if found else room)
        text = (*lead, *tokens[max(0, end - room + stride) : upto])
        found.append(Window(prompt=text[:1], continuation=text[1:], scored=upto - end))
        end = upto
    return tuple(found)


def _losses(
    model: LanguageModel, every: Sequence[Window], *, batch_tokens: int | None, progress: Progress
) -> list[tuple[Float64[ndarray, " window"], Float64[ndarray, " window"]]]:
    """By variant: the summed negative log-probability of each window's scored tokens, and their number."""
    pairs = [(window.prompt, window.continuation) for window in every]
    counts = np.array([float(window.scored) for window in every])
    return [
        (
            np.array([-each.log_probs[-window.scored :].sum() for each, window in zip(row, every, strict=True)]),
            counts,
        )
        for row in likelihoods(model, pairs, batch_tokens=batch_tokens, progress=progress)
    ]


def _perplexity(
    losses: Float64[ndarray, " item"], counts: Float64[ndarray, " item"], groups: tuple[str, ...], note: str
) -> Graded:
    """An item of which nothing is scored has no perplexity."""
    values = np.where(counts[:, None] > 0, np.stack([losses, counts], axis=1), np.nan)
    return Graded(
        quantity="perplexity",
        method="log_probability",
        values=values,
        groups=groups,
        statistic="exp_ratio",
        better="lower",
        note=note,
    )


def half_of(text: str, half: Half) -> str:
    """One of two halves that no window straddles: the first is for the test, the second for development.

    It is cut behind the first line that ends after the middle, else behind the first word, else in the middle: in characters, so that the
    halves are the same for every tokenizer.
    """
    middle = len(text) // 2
    ends = (text.find(sign, middle) + 1 for sign in ("\n", " "))
    cut = next((end for end in ends if end and text[end:].strip()), middle)
    return text[:cut] if half == "test" else text[cut:]


def drawn(texts: Sequence[str], *, limit: int | None, seed: int, half: Half | None = None) -> list[tuple[int, str]]:
    """`limit` texts of `half` with their places, drawn by `seed`, in their order."""
    order = generator(seed, "documents", "lambada").permutation(len(texts))
    if half:
        order = order[0 if half == "development" else 1 :: 2]
    return [(int(place), texts[place]) for place in sorted(order[: _positive(limit)])]


def _positive(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; at least 1 is needed, or none for all")
    return limit


def _width(model: LanguageModel, width: int | None) -> int:
    chosen = min(model.max_tokens, WIDEST) if width is None else width
    if not NARROWEST <= chosen <= model.max_tokens:
        raise ConfigError(
            f"windows of {chosen} tokens; {model.checkpoint.key} reads {NARROWEST} to {model.max_tokens} at a time"
        )
    return chosen


def _tokens(model: LanguageModel, text: str) -> tuple[int, ...]:
    return tuple(model.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def _policy(model: LanguageModel, width: int, *, widest: int) -> str:
    """How a text is read, and how much shorter its windows are than those of the same model without a preamble."""
    first = "a token of the text" if model.tokenizer.bos_token_id is None else model.tokenizer.bos_token
    policy = f"windows of {width} tokens that begin with {first} and move on by {width // 2}"
    if not (told := len(model.preamble)):
        return policy
    shorter = min(model.max_tokens + told, widest) - width
    return f"{policy}; the instruction of {told} tokens makes the windows {shorter} tokens shorter than without it"


def _beside(model: LanguageModel) -> str:
    return f" beside the instruction of {len(model.preamble)} tokens" if model.preamble else ""


def _unknown(model: LanguageModel, texts: Sequence[Sequence[int]]) -> str:
    unknown = model.tokenizer.unk_token_id
    total = sum(len(tokens) for tokens in texts)
    count = 0 if unknown is None else sum(list(tokens).count(unknown) for tokens in texts)
    return f"{count} of {total} tokens unknown to the tokenizer"


def _content(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None

"""What a model thinks of given continuations: the log-probability of each of their tokens, teacher-forced.

Continuations of one prompt share its reading, and those that differ in their last token alone share a row, as does whatever a longer one
begins with. Every row knows where its prompt ends, so that a model which is changed at the prompt's last token and in what follows is
changed in the same places as when it generates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from trustrace.core.errors import DataError, TokenizerError
from trustrace.core.progress import Progress, silent
from trustrace.models.language_model import LanguageModel
from trustrace.models.prompting import Prompted, begun, prompted
from trustrace.models.reading import (
    Past,
    Tokens,
    batches,
    beginning_of,
    comfortable,
    read,
    read_ends,
    require_context,
    tokens_of,
    told,
)

Pair = tuple[Tokens, Tokens]
"""A prompt and its continuation, both with at least one token."""

_LOGIT_BYTES = 2**28

_PROCESSOR_TOKENS = 2**11
"""A processor reads no faster in larger batches: they outgrow its caches, and rows of less equal length are padded to one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Likelihood:
    """What a model thinks of one continuation.

    Attributes:
        log_probs: ln p of each of its tokens after the prompt and the tokens before it, from logits in float32.
        is_greedy: Whether each is the likeliest token at its place; of equally likely ones the first.
    """

    log_probs: Float64[np.ndarray, " token"]
    is_greedy: bool

    def __len__(self) -> int:
        return len(self.log_probs)

    @property
    def total(self) -> float:
        """Ln p of the whole continuation."""
        return float(self.log_probs.sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class LogitBatch:
    """The logits that predict the continuations of some pairs.

    Attributes:
        pairs: The places of the pairs.
        lengths: Tokens of each continuation.
        logits: Before each token of the continuation, padded on the right.
    """

    pairs: tuple[int, ...]
    lengths: tuple[int, ...]
    logits: Float[Tensor, "variant row token vocab"]


@dataclass(frozen=True)
class _Row:
    """A prompt with what follows but for the last token; `pairs` are the pairs that it serves."""

    prompt: Tokens
    following: Tokens
    pairs: tuple[int, ...]


def encode_pair(model: LanguageModel, context: str, continuation: str) -> Pair:
    """The tokens of a prompt and of what follows it, cut where the prompt's own tokens end.

    Spaces at the end of the context go to the continuation, since tokenizers join them with the word that follows. An empty context
    is a beginning-of-sequence token, or the end-of-sequence token of a tokenizer that has no other.

    Raises:
        DataError: the continuation has no token of its own.
        TokenizerError: the context is empty, and no token stands for that.
    """
    text = context.rstrip()
    continuation = context[len(text) :] + continuation
    if not text:
        start = _first_token(model)
        tokens = tuple(model.tokenizer(continuation, add_special_tokens=False, verbose=False).input_ids)
        return _checked((start,), tokens, continuation)
    prompt = tokens_of(model, text)
    return _checked(prompt, tokens_of(model, text + continuation)[len(prompt) :], continuation)


def likelihoods(
    model: LanguageModel,
    pairs: Sequence[Pair],
    *,
    batch_tokens: int | None = None,
    progress: Progress = silent,
) -> tuple[tuple[Likelihood, ...], ...]:
    """What each of the model's variants thinks of each continuation.

    Args:
        model: The model, changed or not.
        pairs: Prompts and continuations, as tokens.
        batch_tokens: Tokens that are held at once; by default what suits the device.
        progress: Told of pairs as they are done.

    Returns:
        Likelihoods by variant, then by pair.

    Raises:
        DataError: there are no pairs, or one is longer than the model's context.
        ConfigError: `batch_tokens` is not positive.
    """
    found: dict[tuple[int, int], Likelihood] = {}
    for batch in read_logits(model, pairs, batch_tokens=batch_tokens, progress=progress):
        for row, (place, length) in enumerate(zip(batch.pairs, batch.lengths, strict=True)):
            targets = torch.tensor(pairs[place][1], device=model.device)
            for variant, likelihood in enumerate(_likelihoods(batch.logits[:, row, :length], targets)):
                found[variant, place] = likelihood
    return tuple(tuple(found[variant, place] for place in range(len(pairs))) for variant in range(model.variants))


def read_logits(
    model: LanguageModel, pairs: Sequence[Pair], *, batch_tokens: int | None = None, progress: Progress = silent
) -> Iterator[LogitBatch]:
    """The logits behind the likelihoods of `pairs`, batch by batch.

    Raises:
        DataError, ConfigError: as for :func:`likelihoods`.
    """
    _require(model, pairs)
    # Versions that read alike share their rows.
    reader = replace(model, variants=1) if model.reads_alike else model
    groups = _by_prompt([(told(model, prompt), continuation) for prompt, continuation in pairs])
    prompts = list(groups)
    beginning = beginning_of(model, prompts)
    past = begun(reader, beginning)
    copies = [len(rows) * reader.variants for rows in groups.values()]
    limit, done = comfortable(model, batch_tokens), 0
    if batch_tokens is None and model.device.type == "cpu":
        limit = min(limit, _PROCESSOR_TOKENS * reader.variants)
    for places in batches(_weights(model, groups), copies=copies, limit=limit):
        chosen = [groups[prompts[place]] for place in places]
        yield _batch(model, reader, past, beginning, chosen, pairs)
        done += sum(len(row.pairs) for rows in chosen for row in rows)
        progress(done, len(pairs), "continuations")


def _batch(
    model: LanguageModel,
    reader: LanguageModel,
    past: Past,
    beginning: Tokens,
    groups: Sequence[Sequence[_Row]],
    pairs: Sequence[Pair],
) -> LogitBatch:
    rows = [row for group in groups for row in group]
    at = prompted(
        reader,
        past,
        [rows[0].prompt for rows in groups],
        beginning=beginning,
        copies=[len(rows) for rows in groups],
        room=max(len(row.following) for row in rows),
        is_whole=len(rows) * reader.variants == len(groups),
    )
    logits, firsts = _logits(model, at, [row.following for row in rows for _ in range(reader.variants)])
    logits = logits.reshape(len(rows), model.variants, *logits.shape[1:]).transpose(0, 1)
    firsts = firsts[:: reader.variants]
    places = [(place, row) for row, one in enumerate(rows) for place in one.pairs]
    lengths = tuple(len(pairs[place][1]) for place, _ in places)
    width = max(lengths)
    spans = [_span(logits[:, row], firsts[row], width) for _, row in places]
    return LogitBatch(pairs=tuple(place for place, _ in places), lengths=lengths, logits=torch.stack(spans, dim=1))


def _logits(
    model: LanguageModel, at: Prompted, following: Sequence[Tokens]
) -> tuple[Float[Tensor, "answer token vocab"], list[int]]:
    """The logits after the last token of each row's prompt and after what follows, and where in them the prompt's are."""
    variants = None if model.reads_alike else at.variants
    tails = [rest + tokens for rest, tokens in zip(at.rests, following, strict=True)]
    if all(len(rest) == 1 for rest in at.rests):
        _, logits = read(model, at.past, tails, prompts=at.prompts, variants=variants)
        return logits, [0] * len(tails)
    # Rows end together, so that nothing else of their prompts goes through the vocabulary head.
    keep = 1 + max(map(len, following))
    logits = read_ends(model, at.past, tails, keep=keep, prompts=at.prompts, variants=variants)
    return logits, [keep - 1 - len(tokens) for tokens in following]


def _span(logits: Float[Tensor, "variant token vocab"], first: int, width: int) -> Float[Tensor, "variant width vocab"]:
    """`width` tokens from `first` on, with zeros where the row has ended."""
    span = logits[:, first : first + width]
    return torch.nn.functional.pad(span, (0, 0, 0, width - span.shape[1]))


def _likelihoods(logits: Float[Tensor, "variant token vocab"], targets: Int[Tensor, " token"]) -> Iterator[Likelihood]:
    """In float32: half precision would round the log-probabilities of long continuations to tenths."""
    log_probs = logits.float().log_softmax(-1)
    chosen = log_probs.gather(-1, targets.expand(len(logits), -1)[..., None])[..., 0].double().cpu().numpy()
    greedy = (log_probs.argmax(-1) == targets).all(-1).tolist()
    for row, is_greedy in zip(chosen, greedy, strict=True):
        yield Likelihood(log_probs=row, is_greedy=is_greedy)


def _by_prompt(pairs: Sequence[Pair]) -> dict[Tokens, list[_Row]]:
    served: dict[Tokens, dict[Tokens, list[int]]] = {}
    for place, (prompt, continuation) in enumerate(pairs):
        served.setdefault(tuple(prompt), {}).setdefault(tuple(continuation[:-1]), []).append(place)
    return {prompt: _rows(prompt, followings) for prompt, followings in served.items()}


def _rows(prompt: Tokens, served: dict[Tokens, list[int]]) -> list[_Row]:
    """A row for each following that no longer one begins with; the longer one's row serves the others."""
    rows: list[tuple[Tokens, list[int]]] = []
    # In this order, what a row begins with comes right after it.
    for following, places in sorted(served.items(), reverse=True):
        if rows and rows[-1][0][: len(following)] == following:
            rows[-1][1].extend(places)
        else:
            rows.append((following, list(places)))
    return [_Row(prompt, following, tuple(places)) for following, places in rows]


def _weights(model: LanguageModel, groups: dict[Tokens, list[_Row]]) -> list[int]:
    """Tokens of each prompt's longest row; more where the logits of its tail take more memory than so many keys and values."""
    own, *others = (reader.module.get_output_embeddings().weight.shape[0] for reader in model.readers)
    answers = model.variants if model.reads_alike else 1
    share = comfortable(model, None) * 4 * (answers * own + sum(others)) / _LOGIT_BYTES
    weights = []
    for prompt, rows in groups.items():
        following = max(len(row.following) for row in rows)
        weights.append(max(len(prompt) + following, round((1 + following) * share)))
    return weights


def _require(model: LanguageModel, pairs: Sequence[Pair]) -> None:
    if not pairs:
        raise DataError("no continuations to score; at least one is needed")
    for place, (prompt, continuation) in enumerate(pairs):
        if not prompt or not continuation:
            raise DataError(f"pair {place}: prompt and continuation need at least one token each")
        require_context(model, len(prompt) + len(continuation) - 1, what=f"pair {place}")


def _first_token(model: LanguageModel) -> int:
    """The token that stands for a text that has not begun.

    Raises:
        TokenizerError: the tokenizer has none.
    """
    known = (model.tokenizer.bos_token_id, model.tokenizer.eos_token_id)
    found = next((token for token in known if token is not None), None)
    if found is None:
        raise TokenizerError(
            f"{model.checkpoint.key}: its tokenizer has neither a beginning- nor an end-of-sequence token, so that a text without "
            "a prompt cannot be scored; give the text a prompt, or the tokenizer such a token"
        )
    return int(found)


def _checked(prompt: Tokens, continuation: Tokens, text: str) -> Pair:
    if not continuation:
        raise DataError(f"continuation {text!r} has no token of its own after its prompt; give it text")
    return prompt, continuation

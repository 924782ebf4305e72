"""Texts become tokens, and every text knows which of its tokens it is read at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from trustrace.core.errors import AlignmentError, DataError
from trustrace.models.language_model import LanguageModel

Truncation = Literal["never", "left"]
"""What happens to a text that is longer than the model's context: an error, or its beginning is cut off."""

Span = tuple[int, int]
"""First character, and one past the last."""


_CHUNK = 64
"""Texts that are tokenised at a time; a tokenizer's own record of a text is far larger than its tokens."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """The tokens of one text.

    Attributes:
        ids: Its tokens, a beginning-of-sequence token included where the tokenizer adds one.
        start: The first token that belongs to what is read: the text without that token, or a span of it.
        stop: One past the last such token.
    """

    ids: tuple[int, ...]
    start: int
    stop: int


def encode(
    model: LanguageModel,
    texts: Sequence[str],
    *,
    spans: Sequence[Span] | None = None,
    truncation: Truncation = "never",
) -> tuple[Encoding, ...]:
    """The tokens of each text, as the model's tokenizer makes them.

    Args:
        model: Whose tokenizer, and whose longest context.
        texts: The texts.
        spans: The characters of each text that are read; all of them by default.
        truncation: ``left`` keeps the end of a text that is too long, with its beginning-of-sequence token.

    Raises:
        DataError: there are no texts, or one has no tokens, is longer than the context, or has no token in its span.
        AlignmentError: there are not as many spans as texts.
    """
    if not texts:
        raise DataError("no statements to capture; at least one is needed")
    if spans is not None and len(spans) != len(texts):
        raise AlignmentError(f"{len(texts)} statements but {len(spans)} spans; give one (first, past last) pair each")
    # One number object per token of the vocabulary, not one per token of every text: that would be most of what texts take.
    numbers: dict[int, int] = {}
    encodings = []
    for first in range(0, len(texts), _CHUNK):
        for row, ids, read in _chunk(model, texts[first : first + _CHUNK], first, spans=spans):
            shared = tuple(numbers.setdefault(token, token) for token in ids)
            encodings.append(_fitted(model, row, _encoding(model, row, shared, read), truncation))
    return tuple(encodings)


def _chunk(
    model: LanguageModel, texts: Sequence[str], first: int, *, spans: Sequence[Span] | None
) -> Iterator[tuple[int, list[int], tuple[int, int]]]:
    """The row, the tokens, and the first and past last token to read, of some texts of which the first is statement `first`."""
    encoded = model.tokenizer(
        list(texts), return_attention_mask=False, return_offsets_mapping=spans is not None, verbose=False
    )
    for place, ids in enumerate(encoded["input_ids"]):
        row = first + place
        yield row, ids, (0, len(ids)) if spans is None else _touched(row, spans[row], encoded["offset_mapping"][place])


def _encoding(model: LanguageModel, row: int, ids: tuple[int, ...], read: tuple[int, int]) -> Encoding:
    # A beginning-of-sequence token is the same for every text, and its activation is huge in many models: it would drown a mean.
    start, stop = max(read[0], int(model.adds_bos)), read[1]
    if start >= stop:
        raise DataError(f"statement {row} has no token to read; remove it, give it text, or widen its span")
    return Encoding(ids, start, stop)


def _touched(row: int, span: Span, offsets: Sequence[Span]) -> tuple[int, int]:
    """The tokens that overlap a span of characters."""
    first, past_last = span
    touched = [token for token, (begin, end) in enumerate(offsets) if begin < past_last and end > first and end > begin]
    if not touched:
        raise DataError(
            f"statement {row} has no token in its span, characters {first} to {past_last}; correct the span"
        )
    return touched[0], touched[-1] + 1


def _fitted(model: LanguageModel, row: int, encoding: Encoding, truncation: Truncation) -> Encoding:
    excess = len(encoding.ids) - model.max_tokens
    if excess <= 0:
        return encoding
    if truncation == "never":
        raise DataError(
            f"statement {row} has {len(encoding.ids)} tokens, but {model.checkpoint.key} reads {model.max_tokens} at most; "
            "shorten or remove it, or keep the end of such statements with truncation 'left'"
        )
    kept = int(model.adds_bos)
    ids = encoding.ids[:kept] + encoding.ids[kept + excess :]
    start, stop = max(kept, encoding.start - excess), encoding.stop - excess
    if start >= stop:
        raise DataError(f"statement {row}: truncation from the left cuts its span off; shorten the statement")
    return Encoding(ids, start, stop)

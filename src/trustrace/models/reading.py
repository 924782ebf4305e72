"""Token sequences go through a model in batches: beginnings that several share are read once, and every row knows where its prompt ends."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from trustrace.core.errors import ConfigError, DataError, ModelError
from trustrace.models.caching import spread
from trustrace.models.language_model import LanguageModel
from trustrace.models.layout import Layout, laid_out

Tokens = tuple[int, ...]

_CACHE_BYTES = 2**29
_MOST_TOKENS = 2**16

_COLUMN_COUNTERS = (
    "alibi",
    "sliding_window",
    "window_size",
    "attention_window",
    "attention_types",
    "local_attention",
    "attention_chunk_size",
)
"""Settings by which architectures look at a number of columns, or weigh by their distance."""

SHORTEST_BEGINNING = 8
"""A shorter common beginning is not worth a pass of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Past:
    """What the rows of a batch have read so far.

    Attributes:
        cache: Keys and values.
        mask: 1 for each cached token, 0 for each padded column.
    """

    cache: DynamicCache
    mask: Int[Tensor, "row column"]

    @classmethod
    def nothing(cls, model: LanguageModel, *, rows: int = 1) -> "Past":
        """The past of rows that have read nothing."""
        mask = torch.zeros(rows, 0, dtype=torch.long, device=model.device)
        return cls(cache=_empty_cache(model), mask=mask)

    def take(self, rows: Int[Tensor, " taken"], *, room: int = 0) -> "Past":
        """The past of the given rows, each as often as it is given, with room for so many tokens more; this one is left as it is."""
        return Past(cache=spread(self.cache, rows, room=room), mask=self.mask[rows])


def tokens_of(model: LanguageModel, text: str) -> Tokens:
    """The tokens of `text`, a beginning-of-sequence token first where the tokenizer adds one."""
    return tuple(model.tokenizer(text, verbose=False).input_ids)


def told(model: LanguageModel, prompt: Tokens) -> Tokens:
    """`prompt` with the model's preamble before it, after a beginning-of-sequence token."""
    begins = bool(prompt) and prompt[0] == model.tokenizer.bos_token_id
    return (*prompt[:begins], *model.preamble, *prompt[begins:])


def read(
    model: LanguageModel,
    past: Past,
    rows: Sequence[Tokens],
    *,
    prompts: Sequence[int],
    variants: Int[Tensor, " row"] | None,
) -> tuple[Past, Float[Tensor, "answer token vocab"]]:
    """Read on from `past`: the past after it, and the logits after each token, shorter rows padded on the right.

    Rows that are meant for all versions of a model that reads alike have an answer of each version, one after another.

    Raises:
        ModelError: the batch does not fit the device's memory.
    """
    tokens, mask = padded(rows, device=model.device, side="right", fill=filler(model))
    whole = torch.cat([past.mask, mask], dim=1)
    layout = Layout(prompts=torch.tensor(prompts, device=model.device), variants=variants)
    with torch.inference_mode(), laid_out(layout):
        answer = _called(model, tokens, whole, past.cache)
    return Past(cache=past.cache, mask=whole), answer.logits


def read_ends(
    model: LanguageModel,
    past: Past,
    rows: Sequence[Tokens],
    *,
    keep: int,
    prompts: Sequence[int],
    variants: Int[Tensor, " row"] | None,
) -> Float[Tensor, "answer keep vocab"]:
    """Read on from `past`: the logits after the last `keep` tokens of each row, padded on the left; answers are as in :func:`read`.

    Raises:
        ModelError: the batch does not fit the device's memory.
    """
    tokens, mask = padded(rows, device=model.device, side="left", fill=filler(model))
    whole = torch.cat([past.mask, mask], dim=1)
    layout = Layout(prompts=torch.tensor(prompts, device=model.device), variants=variants)
    with torch.inference_mode(), laid_out(layout):
        answer = _called(model, tokens, whole, past.cache, logits=keep)
    logits: Float[Tensor, "answer keep vocab"] = answer.logits[:, -keep:]
    return logits


def advanced(
    model: LanguageModel,
    past: Past,
    rows: Sequence[Tokens],
    *,
    prompts: Sequence[int],
    variants: Int[Tensor, " row"] | None,
    goes_on: bool = False,
) -> Past:
    """`past` after `rows`, one of which belongs to each of its rows, padded on the left; no logits are computed."""
    if not any(rows):
        return past
    tokens, mask = padded(rows, device=model.device, side="left", fill=filler(model))
    whole = torch.cat([past.mask, mask], dim=1)
    layout = Layout(prompts=torch.tensor(prompts, device=model.device), variants=variants, goes_on=goes_on)
    with torch.inference_mode(), laid_out(layout):
        _called(model, tokens, whole, past.cache, logits=0)
    return Past(cache=past.cache, mask=whole)


def beginning_of(model: LanguageModel, prompts: Sequence[Tokens]) -> Tokens:
    """What all prompts begin with, where reading it once is possible and worth it; never a whole prompt."""
    if model.sharing == "nothing" or len(prompts) < 2 or not all(map(_bridges_gaps, model.readers)):
        return ()
    first, last = min(prompts), max(prompts)
    length = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    length = min(length, min(map(len, prompts)) - 1)
    return first[:length] if length >= SHORTEST_BEGINNING else ()


def batches(lengths: Sequence[int], *, copies: Sequence[int], limit: int) -> Iterator[tuple[int, ...]]:
    """Places in batches of similar length, the longest first, each of at most `limit` tokens, or of one place that is longer.

    Args:
        lengths: Tokens of each place, in one copy.
        copies: Rows that each place becomes.
        limit: Tokens in a batch, padding included.
    """
    batch: list[int] = []
    rows = widest = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and (rows + copies[place]) * widest > limit:
            yield tuple(batch)
            batch, rows = [], 0
        if not batch:
            widest = lengths[place]
        batch.append(place)
        rows += copies[place]
    if batch:
        yield tuple(batch)


def comfortable(model: LanguageModel, batch_tokens: int | None) -> int:
    """Tokens in one batch: `batch_tokens`, or as many as half a gibibyte of keys and values holds.

    Raises:
        ConfigError: `batch_tokens` is not positive.
    """
    if batch_tokens is not None and batch_tokens < 1:
        raise ConfigError(f"batch_tokens is {batch_tokens}; at least one token must go through the model at a time")
    if batch_tokens is not None:
        return batch_tokens
    budget = _CACHE_BYTES if model.device.type == "cpu" else 8 * _CACHE_BYTES
    return max(1, min(_MOST_TOKENS, budget // sum(map(_token_bytes, model.readers))))


def padded(
    rows: Sequence[Tokens], *, device: torch.device, side: str, fill: int
) -> tuple[Int[Tensor, "row token"], Int[Tensor, "row token"]]:
    """Rows of equal length, and where their tokens are."""
    width = max(map(len, rows))
    tokens, mask = [], []
    for row in rows:
        gap = width - len(row)
        blank, full = [fill] * gap, [1] * len(row)
        tokens.append([*blank, *row] if side == "left" else [*row, *blank])
        mask.append([0] * gap + full if side == "left" else full + [0] * gap)
    return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)


def filler(model: LanguageModel) -> int:
    """The token that stands where there is none; masked wherever it stands, so any token of the embedding would do."""
    known = (model.tokenizer.pad_token_id, model.tokenizer.eos_token_id)
    rows = min(reader.module.get_input_embeddings().num_embeddings for reader in model.readers)
    return next((token for token in known if token is not None and token < rows), 0)


def require_context(model: LanguageModel, length: int, *, what: str) -> None:
    """Do nothing where `length` tokens fit the model's context.

    Raises:
        DataError: they do not.
    """
    if length > model.max_tokens:
        raise DataError(
            f"{what} takes {length} tokens, but {model.checkpoint.key} reads {model.max_tokens} at most; "
            "shorten it, ask for fewer new tokens, or use a model with a longer context"
        )


def _called(
    model: LanguageModel,
    tokens: Int[Tensor, "row token"],
    mask: Int[Tensor, "row column"],
    cache: DynamicCache,
    *,
    logits: int | None = None,
) -> Any:
    """One forward pass with all logits, or with those after so many last tokens; with the decoder alone where none are wanted."""
    inputs: dict[str, Any] = {"input_ids": tokens, "past_key_values": cache, "use_cache": True}
    if not bool(mask.all()):
        inputs["attention_mask"] = mask
    if any(map(_takes_positions, model.readers)):
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)[:, -tokens.shape[1] :]
    if logits and "logits_to_keep" in inspect.signature(type(model.module).forward).parameters:
        inputs["logits_to_keep"] = logits
    try:
        return (model.module.get_decoder() if logits == 0 else model.module)(**inputs)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{model.checkpoint.key}: a batch of {len(tokens)} rows and {mask.shape[1]} columns does not fit the memory of {model.device}; "
            "lower batch_tokens, or load the model in a narrower dtype"
        ) from error


def _token_bytes(model: LanguageModel) -> int:
    """Bytes of the keys and values of one token."""
    config = model.module.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 1) or 1
    groups = getattr(config, "num_key_value_heads", None) or heads
    width = model.d_model * groups // heads
    return 2 * model.n_blocks * width * model.dtype.itemsize


def _takes_positions(model: LanguageModel) -> bool:
    return "position_ids" in inspect.signature(type(model.anatomy.decoder).forward).parameters


def _bridges_gaps(model: LanguageModel) -> bool:
    """Whether padding between tokens changes nothing: a token's place is what its caller says, and no window or bias counts columns."""
    config = model.module.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    counts = any(getattr(config, name, None) for name in _COLUMN_COUNTERS) and getattr(
        config, "use_sliding_window", True
    )
    return _takes_positions(model) and not counts and kinds == {"full_attention"}


def _empty_cache(model: LanguageModel) -> DynamicCache:
    """Keys and values of nothing: the model's layers, then those of its companions in turn.

    Raises:
        ModelError: the model or a companion remembers in another way, which cannot be shared between rows.
    """
    whole, *others = map(_own_empty_cache, model.readers)
    whole.layers += [layer for other in others for layer in other.layers]
    return whole


def _own_empty_cache(model: LanguageModel) -> DynamicCache:
    parameters = inspect.signature(type(model.anatomy.decoder).forward).parameters
    try:
        cache = DynamicCache(config=model.module.config) if "past_key_values" in parameters else None
    except (ValueError, AttributeError, KeyError):
        cache = None
    if cache is None or not all(isinstance(layer, DynamicLayer) for layer in cache.layers):
        raise ModelError(
            f"{model.checkpoint.key}: {model.module.config.model_type} keeps a state in place of keys and values; "
            "only models whose blocks attend to what they have read can be asked and scored in batches"
        )
    return cache

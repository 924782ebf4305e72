"""How far versions of a model have moved from one of them, on given texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from torch import Tensor

from trustrace.core.errors import AlignmentError, ConfigError
from trustrace.core.progress import Progress, silent
from trustrace.datasets import lambada
from trustrace.datasets.questions import Half
from trustrace.evaluation.outcomes import Graded, Outcome
from trustrace.evaluation.perplexity import drawn
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import LogitBatch, Pair, encode_pair, read_logits


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """How far each version of a model is from the first one, on whole passages of LAMBADA.

    Attributes:
        limit: How many passages, drawn without replacement; all if not given.
        seed: The seed of that draw.
        data_dir: The folder of data.
        half: As for perplexities.
    """

    limit: int | None = None
    seed: int = 0
    data_dir: Path | None = None
    half: Half | None = None

    @property
    def name(self) -> str:
        """What the task is called."""
        return "divergence"

    def run(
        self, model: LanguageModel, *, batch_tokens: int | None = None, progress: Progress = silent
    ) -> Sequence[Outcome]:
        """One outcome for each of the model's variants; all of them are 0 for the first.

        Raises:
            DataError: the passages cannot be had, or one is longer than the context.
        """
        texts = drawn(lambada.passages(data_dir=self.data_dir), limit=self.limit, seed=self.seed, half=self.half)
        pairs = [encode_pair(model, "", text) for _, text in texts]
        fitting = [(prompt, tokens[: model.max_tokens - 1]) for prompt, tokens in pairs]
        groups = [str(place) for place, _ in texts]
        found = divergences(model, fitting, reference=0, groups=groups, batch_tokens=batch_tokens, progress=progress)
        return [Outcome(dataset=self.name, graded=graded) for graded in found]


def divergences(
    model: LanguageModel,
    pairs: Sequence[Pair],
    *,
    reference: int,
    groups: Sequence[str],
    batch_tokens: int | None = None,
    progress: Progress = silent,
) -> tuple[tuple[Graded, Graded], ...]:
    """Kullback-Leibler divergence of each variant p from the variant q, in nats per token of the continuations.

    ``kl`` is KL(p || q) = sum over the vocabulary of p (ln p - ln q): large where p finds likely what q does not. ``kl_reverse`` is
    KL(q || p). Both are at least 0, and 0 for the reference itself. An item is a pair, its value the mean over its tokens; both variants
    read the same tokens, the continuation's own.

    Args:
        model: Several versions of a model.
        pairs: Prompts and continuations, as tokens.
        reference: Which variant is q, such as the one that is not steered.
        groups: The group of each pair.
        batch_tokens: Tokens that are held at once.
        progress: Told of pairs as they are done.

    Returns:
        ``kl`` and ``kl_reverse`` of each variant.

    Raises:
        ConfigError: there is no such variant.
        AlignmentError: there are not as many groups as pairs.
        DataError: a pair is longer than the context.
    """
    if not 0 <= reference < model.variants:
        raise ConfigError(
            f"variant {reference} is to be the reference, but the model has {model.variants}, counted from 0"
        )
    if len(pairs) != len(groups):
        raise AlignmentError(f"{len(pairs)} pairs but {len(groups)} groups; each pair needs one")
    forward = np.full((model.variants, len(pairs)), np.nan)
    reverse = forward.copy()
    for batch in read_logits(model, pairs, batch_tokens=batch_tokens, progress=progress):
        places = list(batch.pairs)
        forward[:, places], reverse[:, places] = _of_batch(batch, reference)
    return tuple(
        (_graded("kl", forward[variant], groups), _graded("kl_reverse", reverse[variant], groups))
        for variant in range(model.variants)
    )


def _of_batch(
    batch: LogitBatch, reference: int
) -> tuple[Float64[ndarray, "variant row"], Float64[ndarray, "variant row"]]:
    """Row by row: in float64 a whole batch of vocabularies would take twice the memory of its logits, several times over."""
    both = [
        _of_row(batch.logits[:, row, :length], reference).double().cpu().numpy()
        for row, length in enumerate(batch.lengths)
    ]
    found = np.stack(both, axis=-1)
    return found[0], found[1]


def _of_row(logits: Float[Tensor, "variant token vocab"], reference: int) -> Float[Tensor, "direction variant"]:
    """In float64: the divergence of nearly equal distributions is a small difference of large sums."""
    base = logits[reference].double().log_softmax(-1)
    each = []
    for variant in logits:
        other = variant.double().log_softmax(-1)
        each.append(torch.stack([_kl(other, base).mean(), _kl(base, other).mean()]))
    return torch.stack(each, dim=1)


def _kl(log_p: Float[Tensor, "token vocab"], log_q: Float[Tensor, "token vocab"]) -> Float[Tensor, " token"]:
    """What p never says costs nothing, even where the logit of such a token is minus infinity."""
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(-1)


def _graded(quantity: str, values: Float64[ndarray, " pair"], groups: Sequence[str]) -> Graded:
    return Graded(
        quantity=quantity,
        method="log_probability",
        values=values[:, None],
        groups=tuple(groups),
        better="neither",
        note="nats per token; the mean over texts of the mean over the tokens of each",
    )

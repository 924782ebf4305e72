"""Models that sort texts into classes, such as toxic and benign: any sequence classifier that transformers knows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from trustrace.core.errors import CheckpointError, ConfigError, ModelError, TokenizerError
from trustrace.core.progress import Progress, silent
from trustrace.models import families, trusting, weights
from trustrace.models.quiet import quietly
from trustrace.models.sources import open_source

LONGEST = 512
"""Tokens of a text that are read at most, special ones included, whatever the classifier could read."""

BATCH_TOKENS = 8192

_PROOF = ("A word.", "It was a long way to the sea, and nobody spoke.")
_TOLERANCE = 1e-2
"""Far above what batches change by rounding, far below what reading the padding changes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TextClassifier:
    """A sequence classifier in evaluation mode.

    Attributes:
        name: Where it came from.
        commit: Of its files.
        module: The network with its classification head.
        tokenizer: Its tokenizer.
    """

    name: str
    commit: str
    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the columns of :meth:`probabilities`."""
        named = self.module.config.id2label
        return tuple(named[index] for index in range(self.module.config.num_labels))

    def column(self, label: str) -> int:
        """The column of the class called `label`, or numbered so.

        Raises:
            ConfigError: there is no such class.
        """
        if label in self.labels:
            return self.labels.index(label)
        if label.isdecimal() and int(label) < len(self.labels):
            return int(label)
        raise ConfigError(
            f"{self.name} has no class {label!r}; it has {', '.join(self.labels)}: name one of them, or its number from 0"
        )

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text are read, special ones included."""
        limits = [LONGEST, self.tokenizer.model_max_length]
        if positions := getattr(self.module.config, "max_position_embeddings", None):
            limits.append(positions - _reserved_positions(self.module))
        return int(min(limits))

    def probabilities(
        self, texts: Sequence[str], *, batch_tokens: int | None = None, progress: Progress = silent
    ) -> Float64[np.ndarray, "text label"]:
        """The probability of each class for each text: a softmax, or a sigmoid each where classes do not exclude one another.

        A text that is longer than :attr:`max_tokens` counts by its beginning. Answers depend on the batch by rounding alone.
        """
        found = np.zeros((len(texts), len(self.labels)))
        encoded = (
            self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens) if texts else {"input_ids": []}
        )
        lengths = [len(ids) for ids in encoded["input_ids"]]
        done = 0
        for rows in _batches(lengths, limit=batch_tokens or BATCH_TOKENS):
            found[rows] = self._read(self._padded(encoded, rows)).cpu().numpy()
            done += len(rows)
            progress(done, len(texts), "texts classified")
        return found

    def n_truncated(self, texts: Sequence[str]) -> int:
        """How many of `texts` are read in part."""
        encoded = self.tokenizer(list(texts), verbose=False) if texts else {"input_ids": []}
        return sum(len(ids) > self.max_tokens for ids in encoded["input_ids"])

    def _padded(self, encoded: BatchEncoding, rows: Sequence[int]) -> BatchEncoding:
        chosen = {key: [encoded[key][row] for row in rows] for key in encoded}
        return self.tokenizer.pad(chosen, return_tensors="pt").to(self.module.device)

    def _read(self, inputs: BatchEncoding) -> Float64[Tensor, "text label"]:
        with torch.inference_mode():
            logits: Float[Tensor, "text label"] = self.module(**inputs).logits
        several = self.module.config.problem_type == "multi_label_classification" or len(self.labels) == 1
        return logits.double().sigmoid() if several else logits.double().softmax(-1)


def load_classifier(source: str, *, device: str = "cpu") -> TextClassifier:
    """The classifier in a folder, or in a hub repository (``owner/name``, or ``owner/name@revision``).

    No code that comes with it is run: its weights are safetensors or are read as tensors only, and its architecture is one of
    transformers'. It computes in float32.

    Raises:
        CheckpointError: files are missing or damaged, or it is no classifier: weights of its head are missing.
        UnsafeFileError: its weights can only be read by running code.
        TokenizerError: it has no tokenizer, or one that cannot pad.
        ModelError: its architecture is unknown or fails, or its answers change with padding.
    """
    series = open_source(source)
    listing = series.checkpoints()
    chosen = series.pin(next((one for one in listing if one.revision == families.MAIN), listing[-1]))
    with series.path(chosen) as folder:
        config = trusting.require_known(folder, trusted=False)
        files = weights.weight_files(folder)
        weights.verify(files)
        trusting.require_backed(folder, config, files)
        module, tokenizer = _module(folder, files), _tokenizer(folder)
    found = TextClassifier(name=source, commit=chosen.commit, module=module.to(device), tokenizer=tokenizer)
    _prove(found)
    return found


def _prove(classifier: TextClassifier) -> None:
    """Do nothing where a text has the same answer alone and beside a longer one."""
    try:
        alone = [classifier.probabilities([text])[0] for text in _PROOF]
        together = classifier.probabilities(_PROOF)
    except Exception as error:
        kind = classifier.module.config.model_type
        raise ModelError(
            f"{classifier.name}: transformers cannot compute with it as a classifier ({type(error).__name__}: {error}); its architecture "
            f"is {kind}: choose another classifier, or another version of transformers"
        ) from error
    if not np.allclose(alone, together, atol=_TOLERANCE, equal_nan=True):
        raise ModelError(
            f"{classifier.name}: its answer to a text changes with the padding beside a longer one; its configuration has the padding "
            f"token {classifier.module.config.pad_token_id}, its tokenizer {classifier.tokenizer.pad_token_id}: make them one"
        )


def _module(folder: Path, files: weights.WeightFiles) -> PreTrainedModel:
    try:
        with quietly():
            module, loading = AutoModelForSequenceClassification.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=files.kind == "safetensors",
                weights_only=True,
                # Unsaid, transformers would ask on the terminal.
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    # Each architecture fails in a way of its own over files that do not fit it: missing attributes, assertions, errors of the hub's.
    except Exception as error:
        raise CheckpointError(f"{folder}: transformers cannot read it as a classifier: {error}") from error
    if missing := sorted(loading["missing_keys"]):
        raise CheckpointError(
            f"{folder}: {len(missing)} weights are missing, among them {', '.join(missing[:3])}; this is no trained classifier, and "
            "transformers would have drawn them at random"
        )
    if broken := [name for name, weight in module.named_parameters() if not bool(torch.isfinite(weight).all())]:
        raise CheckpointError(
            f"{folder}: NaN or infinity in {len(broken)} weights, among them {broken[0]}; fetch it again"
        )
    classifier: PreTrainedModel = module.eval()
    return classifier


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    if not weights.has_tokenizer(folder):
        raise TokenizerError(f"{folder}: no tokenizer; put its files beside the weights")
    try:
        with quietly():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
    # The tokenizers library raises plain Exception for a damaged file.
    except Exception as error:
        raise TokenizerError(f"{folder}: its tokenizer cannot be read: {error}") from error
    if tokenizer.pad_token_id is None:
        raise TokenizerError(f"{folder}: its tokenizer has no padding token, which texts in one batch need; name one")
    return tokenizer


def _reserved_positions(module: PreTrainedModel) -> int:
    """Positions that no token takes: RoBERTa's begin after the index of the padding token."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings"):
            padding = getattr(part, "padding_idx", None)
            return 0 if padding is None else padding + 1
    return 0


def _batches(lengths: Sequence[int], *, limit: int) -> Iterator[list[int]]:
    """Rows of nearly equal length, so many at once that their padded tokens stay within `limit`; one at least."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > limit:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch

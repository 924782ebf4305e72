"""What a pre-training run is: corpus, tokenizer, architecture, recipe, and when it is saved."""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from huggingface_hub.errors import StrictDataclassError
from pydantic import Field, field_validator, model_validator
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from trustrace.core.config import Config

_OURS = {
    "vocab_size": "the tokenizer decides it",
    "bos_token_id": "the tokenizer decides it",
    "eos_token_id": "the tokenizer decides it",
    "pad_token_id": "the tokenizer decides it",
    "dtype": "set 'dtype' of the run; weights are kept in float32",
}
"""Keys of an architecture that follow from the rest of the run."""


class FolderCorpus(Config):
    """A folder of text files, one document each.

    Attributes:
        path: The folder; environment variables such as ``${TRUSTRACE_DATA}`` are filled in when it is read.
        max_documents: Read no more than so many documents.
    """

    kind: Literal["folder"] = "folder"
    path: str
    max_documents: int | None = Field(default=None, ge=1)


class HubCorpus(Config):
    """A text dataset of the Hugging Face hub, streamed.

    Attributes:
        name: The dataset's repository.
        subset: Its configuration, where it has several.
        split: Which split.
        column: The column that holds the text.
        revision: A commit; without one, the order is only as stable as the dataset.
        max_documents: Read no more than so many documents; without it, the whole split.
    """

    kind: Literal["huggingface"] = "huggingface"
    name: str
    subset: str | None = None
    split: str = "train"
    column: str = "text"
    revision: str | None = None
    max_documents: int | None = Field(default=None, ge=1)


class WorldCorpus(Config):
    """The controlled world, whose truths are known.

    Attributes:
        seed: Which world.
        words: Stop with the document that reaches so many words and marks; where unset, the world decides.
        max_documents: Write no more than so many documents.
    """

    kind: Literal["world"] = "world"
    seed: int = 0
    words: int | None = Field(default=None, ge=1)
    max_documents: int | None = Field(default=None, ge=1)


Corpus = Annotated[FolderCorpus | HubCorpus | WorldCorpus, Field(discriminator="kind")]


class BpeTokenizer(Config):
    """A byte-level BPE tokenizer, trained on the training documents.

    Attributes:
        vocab_size: Entries, among them 256 bytes and the special tokens.
        characters: How much of the corpus it is trained on, from the start; enough for any vocabulary, and bounded for any corpus.
    """

    kind: Literal["bpe"] = "bpe"
    vocab_size: int = Field(default=4096, ge=300)
    characters: int = Field(default=100_000_000, ge=1)


class WordTokenizer(Config):
    """One token per word, split at white space: for corpora of a small closed vocabulary such as the controlled world.

    Attributes:
        vocab_size: Entries at most, the most frequent words; what is left out becomes ``<|unk|>``.
        characters: How much of the corpus it is trained on, from the start.
    """

    kind: Literal["words"] = "words"
    vocab_size: int = Field(default=1024, ge=4)
    characters: int = Field(default=100_000_000, ge=1)


class GivenTokenizer(Config):
    """A tokenizer that exists already.

    Attributes:
        path: A folder (environment variables are filled in) or a hub repository.
    """

    kind: Literal["given"] = "given"
    path: str


Tokenizer = Annotated[BpeTokenizer | WordTokenizer | GivenTokenizer, Field(discriminator="kind")]


class Optimizer(Config):
    """AdamW with a warm-up and a cosine decay.

    Attributes:
        learning_rate: The peak, reached at update `warmup_steps`.
        floor: The learning rate of the last update.
        warmup_steps: Updates of linear warm-up.
        betas: Decay of the first and second moment.
        epsilon: Added to the root of the second moment.
        weight_decay: Decoupled decay of the weights in `decayed`.
        decayed: ``matrices`` leaves out biases and norms; ``all`` decays every parameter, as Amber does.
        clip: Largest global gradient norm.

    References:
        Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization; (2017), SGDR (the cosine).
    """

    learning_rate: float = Field(gt=0)
    floor: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    decayed: Literal["matrices", "all"] = "matrices"
    clip: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _floor_lies_below_the_peak(self) -> "Optimizer":
        if self.floor > self.learning_rate:
            raise ValueError(f"floor {self.floor} is above the peak learning rate {self.learning_rate}")
        return self


class Saves(Config):
    """When checkpoints are saved: at step 0, densely at first, then evenly, and at the end.

    ``Saves(dense=10, dense_until=512, every=1000)`` is the schedule of the Pythia suite.

    Attributes:
        dense: Saves in logarithmic spacing from step 1 to `dense_until`; fewer where steps coincide.
        dense_until: Where the dense part ends.
        every: Afterwards each multiple of so many steps.
    """

    dense: int = Field(default=12, ge=0)
    dense_until: int = Field(default=512, ge=1)
    every: int = Field(ge=1)


class PretrainConfig(Config):
    """A pre-training run from random initialisation.

    Attributes:
        architecture: Any causal language model of transformers: its ``model_type`` and the settings of its configuration class.
        corpus: What it reads.
        tokenizer: How text becomes tokens.
        sequence_length: Tokens predicted per sequence.
        batch: Sequences per optimizer step, over all devices.
        micro_batch: Sequences per forward pass on one device, their gradients accumulated; all at once where unset.
        tokens: Tokens to train on in all; rounded down to whole steps.
        optimizer: The recipe.
        dtype: Arithmetic of the forward pass; weights and optimizer stay in float32.
        seed: Of the initialisation, the order of the data, dropout, and the choice of held-out documents.
        held_out: Share of documents that are never trained on.
        held_out_tokens: Held-out tokens that are scored at each save, at most.
        saves: When checkpoints are saved.
    """

    architecture: dict[str, Any]
    corpus: Corpus
    tokenizer: Tokenizer
    sequence_length: int = Field(ge=2)
    batch: int = Field(ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    tokens: int = Field(ge=1)
    optimizer: Optimizer
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    held_out: float = Field(default=0.02, gt=0, lt=1)
    held_out_tokens: int = Field(default=131_072, ge=1)
    saves: Saves

    @property
    def tokens_per_step(self) -> int:
        """Tokens predicted in one optimizer step."""
        return self.batch * self.sequence_length

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.tokens // self.tokens_per_step

    @field_validator("architecture")
    @classmethod
    def _architecture_is_known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        model_type = settings.get("model_type")
        if not isinstance(model_type, str) or model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise ValueError(
                f"model_type {model_type!r} is no causal language model of transformers"
                f"{_nearest(model_type, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)}"
            )
        known = _keys_of(AutoConfig.for_model(model_type))
        for key in settings.keys() - {"model_type"}:
            if key in _OURS:
                raise ValueError(f"{key} cannot be set here: {_OURS[key]}")
            if key not in known:
                raise ValueError(f"{key} is no setting of {model_type}{_nearest(key, known)}")
        try:
            AutoConfig.for_model(**settings)
        except StrictDataclassError as error:
            raise ValueError(str(error)) from None
        return settings

    @model_validator(mode="after")
    def _there_is_something_to_train(self) -> "PretrainConfig":
        if self.steps < 1:
            raise ValueError(
                f"tokens: {self.tokens} are less than one step of {self.tokens_per_step} (batch {self.batch} x {self.sequence_length})"
            )
        if self.optimizer.warmup_steps > self.steps:
            raise ValueError(
                f"optimizer.warmup_steps: {self.optimizer.warmup_steps} is more than the {self.steps} steps of the run"
            )
        if context_length(self) < self.sequence_length:
            raise ValueError(
                f"sequence_length: {self.sequence_length} exceeds the architecture's context of {context_length(self)}"
            )
        return self


def model_config(
    config: PretrainConfig, *, vocab_size: int, bos: int | None = None, eos: int | None = None, pad: int | None = None
) -> PreTrainedConfig:
    """The configuration of the model that `config` trains, once its tokenizer is known."""
    settings = dict(config.architecture)
    model_type = settings.pop("model_type")
    default = AutoConfig.for_model(model_type)
    context = default.attribute_map.get("max_position_embeddings", "max_position_embeddings")
    if context in _keys_of(default) and not settings.keys() & {context, "max_position_embeddings"}:
        settings[context] = config.sequence_length
    # An embedding row of the padding token is never trained: it must not be the row of the end-of-document token.
    pad = None if pad == eos else pad
    return AutoConfig.for_model(
        model_type, **settings, vocab_size=vocab_size, bos_token_id=bos, eos_token_id=eos, pad_token_id=pad
    )


def context_length(config: PretrainConfig) -> int:
    """The longest text the model reads: what its architecture says, and else the length it is trained on."""
    settings = model_config(config, vocab_size=1)
    return int(getattr(settings, "max_position_embeddings", config.sequence_length))


def _keys_of(settings: PreTrainedConfig) -> set[str]:
    # What an architecture calls by its own name (n_positions) may be set by the common one as well (max_position_embeddings).
    return set(settings.to_dict()) | set(settings.attribute_map)


def _nearest(key: object, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""

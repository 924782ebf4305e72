"""How large the models of known suites are: what a forecast needs before anything is downloaded.

A parameter count follows from the shape; a test counts the same model's parameters with transformers. Sources: the models' ``config.json``
and the papers of the suites (Amber: arXiv:2312.06550; Pythia: arXiv:2304.01373, table 1; OLMo: arXiv:2402.00838; OLMo 2:
arXiv:2501.00656).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from trustrace.core.errors import ModelError

Block = Literal["llama", "gpt_neox", "olmo", "olmo2"]
"""Whose block it is: which matrices, biases and norms it has."""

StoredDtype = Literal["float32", "bfloat16", "float16"]

BYTES: Mapping[StoredDtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of one model.

    Attributes:
        block: Whose block it is.
        d_model: Width of the residual stream.
        n_blocks: Blocks.
        n_heads: Attention heads; none of these models shares keys and values between heads.
        d_mlp: Width inside the MLP.
        vocabulary: Rows of the embedding, padding included.
        context: Tokens at most.
        is_tied: Whether input and output embedding are one.
        stored: What weights are stored as.
        bytes_beside: Of a revision's weight files what is no parameter.
        source: Where this is said.
    """

    block: Block
    d_model: int
    n_blocks: int
    n_heads: int
    d_mlp: int
    vocabulary: int
    context: int
    is_tied: bool = False
    stored: StoredDtype
    bytes_beside: int = 0
    source: str

    @property
    def block_parameters(self) -> int:
        """Parameters of one block."""
        width, inner = self.d_model, self.d_mlp
        match self.block:
            case "llama":
                return 4 * width**2 + 3 * width * inner + 2 * width
            case "gpt_neox":
                return 4 * width**2 + 2 * width * inner + 9 * width + inner
            case "olmo":
                return 4 * width**2 + 3 * width * inner
            case "olmo2":
                return 4 * width**2 + 3 * width * inner + 4 * width

    @property
    def parameters(self) -> int:
        """All of them; a tied embedding counts once."""
        final_norm = {"llama": 1, "gpt_neox": 2, "olmo": 0, "olmo2": 1}[self.block] * self.d_model
        embeddings = (1 if self.is_tied else 2) * self.vocabulary * self.d_model
        return embeddings + self.n_blocks * self.block_parameters + final_norm

    @property
    def body_parameters(self) -> int:
        """Those that every token is multiplied with when activations are read: the blocks, without embedding and vocabulary head."""
        return self.n_blocks * self.block_parameters

    @property
    def revision_bytes(self) -> int:
        """What is downloaded of one revision."""
        return self.parameters * BYTES[self.stored] + self.bytes_beside

    def cache_bytes(self, tokens: int, *, dtype: StoredDtype) -> int:
        """Keys and values of `tokens` tokens of context."""
        return 2 * self.n_blocks * self.d_model * tokens * BYTES[dtype]


def of(repository: str) -> Shape:
    """The shape of a hub repository's model.

    Raises:
        ModelError: it is not in this table.
    """
    name = repository.partition("@")[0]
    found = next((shape for pattern, shape in SHAPES.items() if re.fullmatch(pattern, name)), None)
    if found is None:
        raise ModelError(
            f"{repository}: the shape of this model is not in the table of known suites; known are {_listed(SHAPES)}; "
            "give --like REPOSITORY for a model of the same shape, or --made-by FILE for a pre-training run of one's own"
        )
    return found


def of_architecture(architecture: Mapping[str, Any], *, vocabulary: int, context: int) -> Shape:
    """The shape of a run of one's own, whose checkpoints are stored in float32.

    Raises:
        ModelError: it is not a Llama, the only architecture whose keys are read here, or it lacks one.
    """
    if architecture.get("model_type") != "llama":
        raise ModelError(
            f"model_type {architecture.get('model_type')!r}: only a llama's shape is read from a pre-training file; give --like REPOSITORY"
        )
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    if missing := [key for key in keys if key not in architecture]:
        raise ModelError(f"the architecture lacks {', '.join(missing)}, without which its shape is not known")
    return Shape(
        block="llama",
        d_model=int(architecture["hidden_size"]),
        n_blocks=int(architecture["num_hidden_layers"]),
        n_heads=int(architecture["num_attention_heads"]),
        d_mlp=int(architecture["intermediate_size"]),
        vocabulary=vocabulary,
        context=context,
        is_tied=bool(architecture.get("tie_word_embeddings", False)),
        stored="float32",
        source="the pre-training file",
    )


def _pythia(width: int, blocks: int, heads: int, *, vocabulary: int = 50_304) -> Shape:
    """Weights in half precision; each block's file entry also holds its causal mask, a byte for each pair of its 2,048 positions."""
    return Shape(
        block="gpt_neox",
        d_model=width,
        n_blocks=blocks,
        n_heads=heads,
        d_mlp=4 * width,
        vocabulary=vocabulary,
        context=2048,
        stored="float16",
        bytes_beside=blocks * 2048**2,
        source="arXiv:2304.01373, table 1",
    )


_AMBER = Shape(
    block="llama",
    d_model=4096,
    n_blocks=32,
    n_heads=32,
    d_mlp=11_008,
    vocabulary=32_000,
    context=2048,
    stored="float32",
    source="arXiv:2312.06550; the repository's file sizes",
)
_OLMO_1B = Shape(
    block="olmo",
    d_model=2048,
    n_blocks=16,
    n_heads=16,
    d_mlp=8192,
    vocabulary=50_304,
    context=2048,
    is_tied=True,
    stored="float32",
    source="config.json of allenai/OLMo-1B-hf",
)
_OLMO2_1B = replace(
    _OLMO_1B,
    block="olmo2",
    vocabulary=100_352,
    context=4096,
    is_tied=False,
    source="arXiv:2501.00656 and the model card (1.48 B); its intermediate weights are taken to be float32",
)

SHAPES: Mapping[str, Shape] = {
    r"(LLM360|IFM)/Amber(Safe)?": _AMBER,
    r"(LLM360|IFM)/AmberChat": replace(_AMBER, stored="float16"),
    r"EleutherAI/pythia-70m(-deduped)?": _pythia(512, 6, 8),
    r"EleutherAI/pythia-160m(-deduped)?": _pythia(768, 12, 12),
    r"EleutherAI/pythia-410m(-deduped)?": _pythia(1024, 24, 16),
    r"EleutherAI/pythia-1b(-deduped)?": _pythia(2048, 16, 8),
    r"EleutherAI/pythia-1\.4b(-deduped)?": _pythia(2048, 24, 16),
    r"EleutherAI/pythia-2\.8b(-deduped)?": _pythia(2560, 32, 32),
    r"EleutherAI/pythia-6\.9b(-deduped)?": _pythia(4096, 32, 32, vocabulary=50_432),
    r"EleutherAI/pythia-12b(-deduped)?": _pythia(5120, 36, 40, vocabulary=50_688),
    r"lomahony/eleuther-pythia410m-hh-(sft|dpo)": replace(
        _pythia(1024, 24, 16),
        stored="float32",
        source="arXiv:2304.01373, table 1; the repository's values and their types",
    ),
    r"allenai/OLMo-1B-hf": _OLMO_1B,
    r"allenai/OLMo-2-0425-1B(-early-training)?": _OLMO2_1B,
    r"allenai/OLMo-2-0425-1B-(SFT|DPO|Instruct)": replace(_OLMO2_1B, stored="bfloat16"),
}
"""By pattern of the repository's whole name."""


def _listed(patterns: Iterable[str]) -> str:
    return ", ".join(re.sub(r"\(-deduped\)\?|\\", "", pattern) for pattern in patterns)

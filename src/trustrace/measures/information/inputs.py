"""The inputs X that a representation is compared with: the paper's, which moves with the model, and two that stand still."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trustrace.core.errors import AlignmentError
from trustrace.core.statements import Statements
from trustrace.measures.config import InformationConfig
from trustrace.measures.information.kernels import token_kernel
from trustrace.measures.information.variables import Variable
from trustrace.measures.spaces import inner_products

FIRST_BLOCK = "block_0"
"""The site whose output is the paper's X."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedInputs:
    """What the statements are before any model of the series has worked on them.

    Attributes:
        embedding: The mean input embedding of each statement's tokens in the final checkpoint; None where no checkpoint is at hand.
        tokens: The tokens of each statement.
        note: Where they are from, if that must be said.
    """

    embedding: Float[Tensor, "statement d_model"] | None = None
    tokens: Sequence[Sequence[int]]
    note: str = ""

    @classmethod
    def of_words(cls, statements: Statements, *, embedding: Tensor | None = None) -> "FixedInputs":
        """The words of the texts, where no tokenizer is at hand."""
        vocabulary: dict[str, int] = {}
        words = [[vocabulary.setdefault(word, len(vocabulary)) for word in text.split()] for text in statements.texts]
        return cls(embedding=embedding, tokens=words, note="tokens are the words of the text")

    def require_rows(self, statements: Statements) -> None:
        """Do nothing where there is one row per statement.

        Raises:
            AlignmentError: there is not.
        """
        n_embedded = len(statements) if self.embedding is None else len(self.embedding)
        if (n_embedded, len(self.tokens)) != (len(statements), len(statements)):
            raise AlignmentError(
                f"{statements.name}: {len(statements)} statements, but {n_embedded} embeddings and {len(self.tokens)} rows of tokens; "
                "all must come from the same rows in the same order"
            )


def input_variables(
    inputs: FixedInputs,
    first_block: Float[Tensor, "statement d_model"] | None,
    taken: Bool[np.ndarray, " statement"],
    *,
    config: InformationConfig,
    device: torch.device | str,
) -> dict[str, Variable]:
    """The inputs by the name of the quantity that compares a representation with them."""
    rows = torch.from_numpy(np.flatnonzero(taken))
    found: dict[str, Variable] = {}
    for name, values in (("I(T;X)", first_block), ("I(T;X_embedding)", inputs.embedding)):
        if values is not None:
            gram = inner_products(values[rows.to(values.device)].to(device), features=config.features)
            found[name] = Variable.of_features(gram)
    kernel = token_kernel([inputs.tokens[row] for row in rows.tolist()])
    found["I(T;X_tokens)"] = Variable.of_kernel(kernel.to(device))
    return found

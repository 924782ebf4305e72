"""The intervention that needs no vector: the model is told what is wanted of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from trustrace.core.errors import ConfigError
from trustrace.models.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """An instruction before every prompt, such as ``Answer truthfully.``, in generation and in scoring alike.

    Attributes:
        instruction: What is said; put a space or a line break at its end where the model needs one.
    """

    instruction: str

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """The model, told.

        Raises:
            ConfigError: the instruction is empty, or as long as the model's context.
        """
        tokens = tuple(model.tokenizer(self.instruction, add_special_tokens=False, verbose=False).input_ids)
        if not tokens or len(tokens) >= model.max_tokens:
            raise ConfigError(
                f"the instruction {self.instruction!r} has {len(tokens)} tokens; {model.checkpoint.key} needs at least one, "
                f"and room for a prompt in its {model.max_tokens}"
            )
        yield replace(model, preamble=(*model.preamble, *tokens))

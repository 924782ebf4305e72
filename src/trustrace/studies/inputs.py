"""The inputs of each dataset as the last checkpoint embeds them: what stands still while the model moves.

They are recorded in the run folder, one unit a dataset, so that the last checkpoint is loaded for them once, whoever measures the others.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as as_bytes
from torch import Tensor

from trustrace.activations.capture import capture
from trustrace.activations.encoding import Truncation, encode
from trustrace.core.errors import DataError, RunError
from trustrace.core.statements import Statements
from trustrace.measures.information.inputs import FixedInputs
from trustrace.models.language_model import LanguageModel
from trustrace.runs.identity import Unit, code_version
from trustrace.runs.ledger import Ledger
from trustrace.studies.planning import Units
from trustrace.studies.settings import Settings

INPUTS = "inputs.safetensors"
_READING = ("core", "datasets", "models", "activations")


@dataclass(frozen=True, kw_only=True)
class StandingInputs:
    """The inputs of the datasets of one run, which are there when somebody has noted them.

    Attributes:
        plan: What is measured.
        ledger: Where they are recorded.
        settings: Where work is done.
        patience: Seconds before each further look, where others record them: a file system may show what they wrote a little later.
    """

    plan: Units
    ledger: Ledger
    settings: Settings
    patience: Sequence[float] = ()
    _read: dict[str, FixedInputs] = field(default_factory=dict, init=False, repr=False)

    @property
    def are_needed(self) -> bool:
        """Whether the study asks for a number that they enter."""
        return self.plan.study.information is not None and "rigorous" in self.plan.study.protocols

    def missing(self, datasets: Sequence[Statements]) -> list[Statements]:
        """Those of `datasets` whose inputs have to be noted first."""
        return [one for one in datasets if self.are_needed and not self.ledger.is_finished(self._unit(one))]

    def note(self, last: LanguageModel, datasets: Sequence[Statements]) -> None:
        """Record what of `datasets` is missing, as the `last` checkpoint reads it.

        A dataset that cannot be captured is left out: its own units say why when their turn comes.
        """
        for statements in self.missing(datasets):
            started = time.perf_counter()
            try:
                with self.ledger.scratch() as folder:
                    content = self._as_file(last, statements, folder)
            except DataError:
                continue
            seconds = time.perf_counter() - started
            self.ledger.finish(self._unit(statements), [], seconds=seconds, files={INPUTS: content})

    def of(self, statements: Statements) -> FixedInputs | None:
        """The inputs of one dataset; None where none are needed.

        Raises:
            DataError: they were not recorded, since the last checkpoint could not read the dataset.
            RunError: their file is damaged.
        """
        if not self.are_needed:
            return None
        if statements.name not in self._read:
            unit = self._unit(statements)
            self._require(unit, statements)
            self._read[statements.name] = _from_file(self.ledger.file_of(unit, INPUTS))
        return self._read[statements.name]

    def _require(self, unit: Unit, statements: Statements) -> None:
        for wait in (0.0, *self.patience):
            time.sleep(wait)
            if self.ledger.is_finished(unit):
                return
            self.ledger.look_again()
        if not self.ledger.is_finished(unit):
            last = self.plan.last.checkpoint.key
            raise DataError(
                f"{statements.name}: {last}, the last checkpoint, could not read it, and its inputs are read there"
            )

    def _unit(self, statements: Statements) -> Unit:
        last, study = self.plan.last.checkpoint, self.plan.study
        inputs = {
            "last": [last.key, last.commit],
            "statements": statements.texts_fingerprint,
            "dtype": study.dtype,
            "truncation": study.truncation,
            "code": code_version(*_READING),
        }
        return Unit(step="inputs", name=f"{last.key}/{statements.name}", inputs=inputs)

    def _as_file(self, model: LanguageModel, statements: Statements, folder: Path) -> bytes:
        """What was read, the tokens one statement's after the other's."""
        out, truncation = folder / "embed.safetensors", self.plan.study.truncation
        embedding, tokens = read_inputs(model, statements, settings=self.settings, truncation=truncation, out=out)
        tensors = {
            "embedding": embedding.contiguous(),
            "tokens": torch.tensor([token for row in tokens for token in row]),
            "lengths": torch.tensor([len(row) for row in tokens]),
        }
        return bytes(as_bytes(tensors))


def read_inputs(
    model: LanguageModel, statements: Statements, *, settings: Settings, truncation: Truncation, out: Path
) -> tuple[Float32[Tensor, "statement d_model"], list[Sequence[int]]]:
    """The mean input embedding of every statement, and its tokens.

    Args:
        model: Who reads.
        statements: What is read.
        settings: Where work is done.
        truncation: What becomes of statements that are too long.
        out: Where the embeddings are written meanwhile.

    Raises:
        DataError: the dataset cannot be captured.
    """
    embedded = capture(
        model,
        statements.texts,
        sites=("embed",),
        position="mean",
        batch_tokens=settings.batch_tokens,
        truncation=truncation,
        out=out,
    )
    return embedded.values("embed"), [one.ids for one in encode(model, statements.texts, truncation=truncation)]


def _from_file(path: Path) -> FixedInputs:
    try:
        held = read_tensors(path.read_bytes())
        embedding, rows = held["embedding"], _rows(held["tokens"], held["lengths"])
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise RunError(
            f"{path} holds no inputs ({error}); remove its folder, and the same command makes it anew"
        ) from error
    return FixedInputs(embedding=embedding, tokens=rows)


def _rows(tokens: Tensor, lengths: Tensor) -> list[list[int]]:
    return [row.tolist() for row in torch.split(tokens, lengths.tolist())]

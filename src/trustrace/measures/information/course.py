"""Information at every site of one checkpoint on one dataset: the inputs are factored once, and each site meets them in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import torch
from jaxtyping import Float
from torch import Tensor

from trustrace.activations.store import Activations
from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Estimate
from trustrace.core.statements import Statements
from trustrace.measures.config import Features, InformationConfig
from trustrace.measures.information.inputs import FIRST_BLOCK, FixedInputs, input_variables
from trustrace.measures.information.rows import InformationRows, information_rows
from trustrace.measures.information.site import noise_control, site_information
from trustrace.measures.information.variables import Variable
from trustrace.measures.probing import FoldSpace
from trustrace.measures.spaces import inner_products

MATRICES_PER_SITE = 16
"""Square matrices that live at once while one site is measured, beside the smoothers of the inputs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """What every site of one checkpoint shares."""

    rows: InformationRows
    inputs: Mapping[str, Variable]
    control: tuple[Estimate, ...]
    config: InformationConfig

    def at(
        self, values: Float[Tensor, "statement d_model"], spaces: Sequence[FoldSpace], *, features: Features
    ) -> list[Estimate]:
        """Everything about one site; `spaces` are what probes of `features` read there, and are used again where they serve."""
        taken = torch.from_numpy(self.rows.taken).to(values.device)
        if features == self.config.features and len(spaces) == 1 and features != "zscore":
            gram = spaces[0].space.inner_products(taken)
        else:
            gram = inner_products(values[taken], features=self.config.features)
        return [*site_information(gram, self.inputs, self.rows, config=self.config), *self.control]


def course(
    activations: Activations,
    statements: Statements,
    *,
    inputs: FixedInputs | None,
    config: InformationConfig,
    seed: int,
    device: torch.device | str,
) -> Course:
    """Choose the rows and bring the inputs; without `inputs`, the words of the texts are all that is known of them.

    Raises:
        MeasurementError: there are too few statements, or too many for the memory.
        AlignmentError: inputs and statements are not of the same rows.
    """
    inputs = FixedInputs.of_words(statements) if inputs is None else inputs
    inputs.require_rows(statements)
    rows = information_rows(statements, config=config, seed=seed, device=device)
    require_memory(bytes_needed(len(rows), config=config), n=len(rows), device=torch.device(device))
    first = activations.values(FIRST_BLOCK) if FIRST_BLOCK in activations.sites else None
    try:
        variables = input_variables(inputs, first, rows.taken, config=config, device=device)
    except MeasurementError as error:
        raise MeasurementError(f"{statements.name}: the inputs of {activations.checkpoint.key}: {error}") from error
    control = noise_control(activations.d_model, variables, rows, config=config, seed=seed)
    return Course(rows=rows, inputs=variables, control=tuple(control), config=config)


def bytes_needed(n: int, *, config: InformationConfig) -> int:
    """The memory that the measures of `n` statements hold at most: each input's smoothers in both precisions, and a site's own matrices."""
    # Of each input its inner products, a Gaussian kernel and two U-centred ones; smoothers with their residuals in single precision.
    kept = 3 * 4 + (2 * len(config.widths) + 1) * 2
    return int((kept + MATRICES_PER_SITE) * n * n * 8)


def require_memory(needed: int, *, n: int, device: torch.device) -> None:
    """Do nothing where `needed` bytes are free.

    Raises:
        MeasurementError: they are not; how much is needed, and how to need less.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed > free:
        raise MeasurementError(
            f"information on {n} statements needs {needed / 1e9:.1f} GB of memory and {device} has {free / 1e9:.1f} GB free; lower "
            "`max_statements`, give fewer `widths`, or set `information: null` (the protocol 'published' takes all statements)"
        )

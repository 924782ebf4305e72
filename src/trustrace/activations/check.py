"""Does a fast capture say what the plain loop says? A check for users, of their own model and their own statements."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from trustrace.activations.capture import capture
from trustrace.activations.encoding import Encoding, encode
from trustrace.activations.forward import evaluating
from trustrace.core.errors import ModelError
from trustrace.core.sites import Position, select_sites
from trustrace.models.anatomy import watching
from trustrace.models.language_model import LanguageModel
from trustrace.models.selfcheck import TOLERANCE


@dataclass(frozen=True, kw_only=True)
class CaptureCheck:
    """How far a capture lies from reading one statement at a time.

    Attributes:
        differences: The largest difference at each site, relative to the norm of a statement's activation.
        tolerance: What rounding may make of it in the model's precision.
        n: Statements compared.
        prefix_sharing: Whether, and why, shared beginnings were computed once.
    """

    differences: Mapping[str, float]
    tolerance: float
    n: int
    prefix_sharing: str

    @property
    def agrees(self) -> bool:
        """Whether every site lies within the tolerance; a NaN does not."""
        return all(difference <= self.tolerance for difference in self.differences.values())

    def require(self) -> None:
        """Do nothing where the two agree.

        Raises:
            ModelError: they do not; the worst site is named.
        """
        if not self.agrees:
            # NaN sorts nowhere; it is worse than any number.
            worst = max(self.differences, key=lambda site: (math.isnan(self.differences[site]), self.differences[site]))
            raise ModelError(
                f"captured activations differ from one statement at a time by {self.differences[worst]:.1e} at {worst}, "
                f"where {self.tolerance:.0e} is rounding; capture with sharing=False and a budget of one token, and report the model"
            )


def check_capture(
    model: LanguageModel, texts: Sequence[str], *, position: Position = "last", batch_tokens: int | None = None
) -> CaptureCheck:
    """Capture `texts` at every site, and again by running the whole language model on each text alone.

    Args:
        model: The model.
        texts: Statements; some dozens say enough, and some should begin alike.
        position: How a statement's tokens become one vector.
        batch_tokens: Tokens per forward pass of the capture.

    Raises:
        DataError: a statement is empty or too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "check.safetensors"
        captured = capture(model, texts, out=out, position=position, batch_tokens=batch_tokens)
        plain = [_one(model, encoding, position=position) for encoding in encode(model, texts)]
        differences = {site: _gap(captured.values(site), [one[site] for one in plain]) for site in captured.sites}
    sharing = captured.provenance["prefix_sharing"]
    return CaptureCheck(
        differences=differences,
        tolerance=TOLERANCE.get(model.dtype, 0.0),
        n=len(texts),
        prefix_sharing=f"{'used' if sharing['used'] else 'not used'}: {sharing['reason']}",
    )


def _one(model: LanguageModel, encoding: Encoding, *, position: Position) -> dict[str, Float32[Tensor, " d_model"]]:
    """One statement through the whole language model, and its vector at each site."""
    stream: dict[str, Tensor] = {}
    sites = select_sites("all", n_blocks=model.n_blocks)
    with (
        torch.no_grad(),
        evaluating(model.module),
        watching(model.anatomy, sites, lambda s, x: stream.update({s.name: x[0]})),
    ):
        model.module(input_ids=torch.tensor([encoding.ids], device=model.device))
    return {
        site: _vector(tokens[encoding.start : encoding.stop].float().cpu(), position) for site, tokens in stream.items()
    }


def _vector(tokens: Float32[Tensor, "token d_model"], position: Position) -> Float32[Tensor, " d_model"]:
    match position:
        case "first":
            return tokens[0]
        case "last":
            return tokens[-1]
        case "mean":
            return tokens.mean(dim=0)
        case "max":
            return tokens.amax(dim=0)


def _gap(captured: Float32[Tensor, "statement d_model"], plain: Sequence[Float32[Tensor, " d_model"]]) -> float:
    reference = torch.stack(list(plain))
    return float(((captured - reference).norm(dim=1) / reference.norm(dim=1)).max())

"""What is done to a token's residual stream, and all that is done in one batch as three tensors.

Adding, projecting out and clamping are one formula, h + u (s - k ⟨u, h⟩) with a unit vector u: adding has k = 0 and s the length to add;
ablation has k = 1 and s = 0; clamping has k = 1 and s the projection to reach.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from trustrace.core.errors import ConfigError
from trustrace.core.sites import Site

Kind = Literal["add", "ablate", "clamp"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """One thing done to the residual stream at one site.

    Attributes:
        site: Where.
        kind: ``add`` moves along the direction, ``ablate`` removes what lies along it, ``clamp`` sets what lies along it.
        direction: Of length 1.
        amount: The length to add, or the projection to reach, in units of the residual stream; nothing to an ablation.
    """

    site: str
    kind: Kind
    direction: Float32[Tensor, " d_model"]
    amount: float = 0.0

    def __post_init__(self) -> None:
        Site.parse(self.site)
        if not math.isfinite(self.amount):
            raise ConfigError(f"{self.kind} at {self.site}: its strength is {self.amount}; give a finite number")
        length = float(torch.linalg.vector_norm(self.direction.double()))
        # Not `abs(...) > bound`: a NaN must fail as well.
        if not abs(length - 1) <= 1e-3:
            raise ConfigError(
                f"{self.kind} at {self.site}: its direction has length {length}; it must be finite and of length 1"
            )


def add(site: str, displacement: Float[Tensor, " d_model"], *, alpha: float = 1.0) -> Edit:
    """Move by `alpha` times `displacement`.

    Raises:
        ConfigError: `alpha` or the displacement is not finite, or the displacement has no length.
    """
    length = float(torch.linalg.vector_norm(displacement.double()))
    if not (math.isfinite(length) and length > 0):
        raise ConfigError(
            f"add at {site}: the displacement has length {length}; give a finite vector that moves something"
        )
    unit = (displacement.double() / length).float()
    return Edit(site=site, kind="add", direction=unit, amount=alpha * length)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """At most one edit at one site for each version of a model.

    Attributes:
        directions: u; zero where a version has no edit.
        keeps: k.
        shifts: s.
    """

    directions: Float32[Tensor, "variant d_model"]
    keeps: Float32[Tensor, " variant"]
    shifts: Float32[Tensor, " variant"]

    @classmethod
    def of(cls, edits: Sequence[Edit | None], *, d_model: int, device: torch.device) -> "Layer":
        """The edits of all versions."""
        nothing = torch.zeros(d_model)
        directions = [nothing if edit is None else edit.direction for edit in edits]
        keeps = [0.0 if edit is None or edit.kind == "add" else 1.0 for edit in edits]
        shifts = [0.0 if edit is None or edit.kind == "ablate" else edit.amount for edit in edits]
        return cls(
            directions=torch.stack(directions).to(device),
            keeps=torch.tensor(keeps, device=device),
            shifts=torch.tensor(shifts, device=device),
        )

    @property
    def only_adds(self) -> bool:
        """Whether no version looks at what it changes."""
        return not bool(self.keeps.any())

    def displacement(
        self, residual: Float[Tensor, "row token d_model"], variants: Int[Tensor, " row"]
    ) -> Float[Tensor, "row _ d_model"]:
        """What is added to each token of each row, projections computed in float32; one column where all tokens get the same."""
        directions = self.directions[variants][:, None]
        lengths = self.shifts[variants][:, None, None]
        if not self.only_adds:
            along = (residual.float() * directions).sum(-1, keepdim=True)
            lengths = lengths - self.keeps[variants][:, None, None] * along
        return (lengths * directions).to(residual.dtype)


def moved(
    residual: Float[Tensor, "row token d_model"],
    displacement: Float[Tensor, "row _ d_model"],
    chosen: Bool[Tensor, "row token"] | None,
) -> Float[Tensor, "row token d_model"]:
    """The residual stream with some tokens moved, or all of them; it is not changed in place."""
    if chosen is None:
        return residual + displacement
    return torch.where(chosen[..., None], residual + displacement, residual)

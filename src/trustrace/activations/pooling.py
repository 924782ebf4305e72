"""The tokens of a statement become one vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from trustrace.activations.encoding import Encoding
from trustrace.core.sites import Position


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooling:
    """Which tokens of a batch make up each statement's vector, and how.

    Attributes:
        places: The tokens that are read, statement after statement, as places among the tokens of all rows.
        lengths: How many of them belong to each statement.
        position: What is made of them.
    """

    places: Int[Tensor, " token"]
    lengths: Int[Tensor, " statement"]
    position: Position

    @classmethod
    def of(
        cls,
        paths: Sequence[Sequence[int]],
        encodings: Sequence[Encoding],
        *,
        position: Position,
        device: torch.device,
    ) -> "Pooling":
        """The pooling of statements whose tokens lie at `paths`."""
        read = [_read(path, encoding, position) for path, encoding in zip(paths, encodings, strict=True)]
        return cls(
            places=torch.tensor([place for places in read for place in places], device=device),
            lengths=torch.tensor([len(places) for places in read], device=device),
            position=position,
        )

    def __call__(self, residual: Float[Tensor, "row token d_model"]) -> Float32[Tensor, "statement d_model"]:
        """One vector per statement, computed in float32 whatever the model computes in."""
        # Blocks of one model may lie on several devices.
        read = residual.flatten(0, 1).index_select(0, self.places.to(residual.device)).float()
        if self.position in ("first", "last"):
            return read
        return torch.segment_reduce(read, self.position, lengths=self.lengths.to(residual.device))


def _read(path: Sequence[int], encoding: Encoding, position: Position) -> Sequence[int]:
    """The places of the tokens that `position` asks for."""
    content = path[encoding.start : encoding.stop]
    match position:
        case "first":
            return content[:1]
        case "last":
            return content[-1:]
        case _:
            return content

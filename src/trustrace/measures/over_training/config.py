"""What is decided before checkpoints are compared with each other."""

from typing import Annotated

from pydantic import Field

from trustrace.core.config import Config


class OverTrainingConfig(Config):
    """How checkpoints are compared with each other.

    Attributes:
        margin: How far above its floor an accuracy must be to count as emerged.
        exchanges: Random group-wise exchanges behind each paired test.
        influence_blocks: Blocks of groups that are left out of the training rows one at a time, to see what predictions owe to each other.
        null_draws: Random directions, and probes of permuted labels, behind the null of each cell of a transfer matrix.
        matrix_checkpoints: At most so many checkpoints, evenly spread over the series with its ends, are compared pair by pair; the others
            have their courses all the same.
        matrix_draws: Bootstrap samples of groups behind each cell of a transfer matrix; no more than ``bootstrap_draws`` of the probes.
        blocks: Blocks of groups, each left out once, behind the intervals of drift; an even number.
        halvings: Random halvings of the groups over which drift is averaged.
        rank: Dimensions of the discriminative subspace whose angles are measured.
        hardest: Statements that are listed as the hardest.
    """

    margin: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    exchanges: Annotated[int, Field(ge=100)] = 9999
    influence_blocks: Annotated[int, Field(ge=20)] = 100
    null_draws: Annotated[int, Field(ge=39)] = 199
    matrix_checkpoints: Annotated[int, Field(ge=2)] = 40
    matrix_draws: Annotated[int, Field(ge=100)] = 200
    blocks: Annotated[int, Field(ge=4, multiple_of=2)] = 10
    halvings: Annotated[int, Field(ge=1)] = 2
    rank: Annotated[int, Field(ge=1, le=32)] = 4
    hardest: Annotated[int, Field(ge=1)] = 20

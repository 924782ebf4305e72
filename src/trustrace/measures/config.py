"""What is decided before a probe is fitted."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trustrace.core.config import Config

Features = Literal["unit_rms", "scaled", "zscore"]
"""What a probe reads of an activation x; whatever is fitted is fitted on training rows.

* ``unit_rms``: x / rms(x), then one scale for all features. The default. A pre-norm block reads the residual stream through an RMS or layer
  norm, so this is what the next block could read linearly; no statement dominates by its norm (norms of one text differ by orders of
  magnitude where massive activations occur), and growth of the norm during training cannot pass for readability of a concept.
* ``scaled``: x itself, then one scale for all features: keeps what the norm says.
* ``zscore``: each feature by its own mean and standard deviation: the habit of the field. It lifts every quiet feature to the weight of the
  loud ones, and needs a feature space of its own for each fold, so it is several times slower.
"""


class ProbingConfig(Config):
    """How probes are fitted and scored under the protocol ``rigorous``; ``published`` has no options.

    Attributes:
        folds: Grouped folds. Each outer fold's training rows are cut again into the other outer folds, hence at least three.
        regularisers: The grid from which a regulariser is chosen inside the training rows: scikit-learn's ``C``, on features scaled to a
            mean variance of 1.
        features: What a probe reads of an activation.
        control_draws: Labellings drawn for the control task; their accuracies are averaged.
        bootstrap_draws: Bootstrap samples of groups behind each interval.
    """

    folds: Annotated[int, Field(ge=3, le=50)] = 5
    regularisers: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)] = (
        1e-4,
        1e-3,
        1e-2,
        1e-1,
        1e0,
        1e1,
    )
    features: Features = "unit_rms"
    control_draws: Annotated[int, Field(ge=1)] = 4
    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000

    @model_validator(mode="after")
    def _require_an_ascending_grid(self) -> "ProbingConfig":
        if list(self.regularisers) != sorted(set(self.regularisers)):
            raise ValueError(f"regularisers must ascend without repeats, got {list(self.regularisers)}")
        return self


Width = Annotated[float, Field(ge=1e-3, le=1e6)] | Literal["median"]
"""A bandwidth σ of the Gaussian kernel exp(-||x - x'||² / 2 σ² d) on features of mean variance 1: one bandwidth serves layers of any width.
``median`` takes the median distance for σ."""


class InformationConfig(Config):
    """How dependence on the input and on the label is measured under the protocol ``rigorous``; ``published`` has no options.

    Attributes:
        widths: Kernel widths; the first is the one whose course over training is judged, the others show how much hangs on it.
        ridge: ε of normalised HSIC, a share of the number of statements.
        features: What is seen of an activation; see :data:`Features`.
        permutations: Labellings drawn for each null.
        bootstrap_draws: Bootstrap samples of groups behind each interval.
        max_statements: At most so many statements, in whole groups drawn by the seed: cost grows with their cube, and values depend on
            their number, so that only equal numbers compare. None takes all.
        components: Principal components that the nearest-neighbour estimators see; None leaves these estimators out.
    """

    widths: Annotated[tuple[Width, ...], Field(min_length=1)] = (50.0, 100.0, 200.0, 400.0, "median")
    ridge: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-5
    features: Features = "unit_rms"
    permutations: Annotated[int, Field(ge=20)] = 200
    bootstrap_draws: Annotated[int, Field(ge=100)] = 400
    max_statements: Annotated[int, Field(ge=10)] | None = 2000
    components: Annotated[int, Field(ge=1, le=10)] | None = 3

    @model_validator(mode="after")
    def _require_distinct_widths(self) -> "InformationConfig":
        if len(set(self.widths)) < len(self.widths):
            raise ValueError(f"widths must differ, got {list(self.widths)}")
        return self

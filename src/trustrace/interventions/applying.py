"""A steering vector, measured out for a target model, becomes an edit of it."""

import math
from collections.abc import Collection
from typing import Literal

from trustrace.core.errors import ConfigError, MeasurementError
from trustrace.interventions.edits import Edit
from trustrace.models.fingerprints import tokenizer_fingerprint
from trustrace.models.language_model import LanguageModel
from trustrace.steering.fit import Mismatch, require_fit
from trustrace.steering.vectors import SteeringVector, Unit

Strength = Unit | Literal["target_norm"]
"""What an alpha of 1 is: a scale of the vector's, a length of 1, or the median norm of the target's own residual stream at the site.
Checkpoints differ in norm by an order of magnitude, so that alphas of several of them compare in ``target_norm`` alone."""


def applied(
    vector: SteeringVector,
    *,
    alpha: float,
    unit: Strength,
    target_norm: float = math.nan,
    site: str | None = None,
) -> Edit:
    """Add `alpha` times `vector`.

    Args:
        vector: The vector.
        alpha: How many units to move; against the direction where negative.
        unit: What a unit is.
        target_norm: The target's median norm at the site, for the unit of that name.
        site: Where to act; where the vector was found by default.

    Raises:
        ConfigError: `alpha` is not finite, or the norm is needed and not given.
        MeasurementError: the vector has no such scale.
    """
    place = site or vector.site
    if not math.isfinite(alpha):
        raise ConfigError(f"{vector.key}: alpha is {alpha}; give a finite number")
    return Edit(site=place, kind="add", direction=vector.direction, amount=alpha * length_of(vector, unit, target_norm))


def length_of(vector: SteeringVector, unit: Strength, target_norm: float) -> float:
    """How far one unit moves, in the units of the residual stream.

    Raises:
        ConfigError: the target's norm is needed and not a positive number.
        MeasurementError: the vector has no such scale.
    """
    if unit == "target_norm":
        if not 0 < target_norm < math.inf:
            raise ConfigError(
                f"{vector.key}: the target's residual norm is {target_norm}; measure it before using the unit target_norm"
            )
        return target_norm
    length = vector.scales.of(unit)
    if not 0 < length < math.inf:
        raise MeasurementError(f"{vector.key}: its {unit} is {length}, which measures nothing out; use another unit")
    return length


def require_target(vector: SteeringVector, model: LanguageModel, *, allow: Collection[Mismatch] = ()) -> None:
    """Do nothing where `vector` may act in `model`.

    Raises:
        ModelError: it may not; the message says why and what would.
    """
    require_fit(
        vector,
        model_type=model.module.config.model_type,
        d_model=model.d_model,
        n_blocks=model.n_blocks,
        tokenizer=tokenizer_fingerprint(model.tokenizer),
        allow=allow,
    )

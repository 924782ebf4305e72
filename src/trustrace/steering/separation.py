"""How well a direction tells the two sides apart on rows that it was not made from, and how far a control lies along the real one."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from trustrace.activations.store import Activations
from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Estimate, Role
from trustrace.core.statements import Statements
from trustrace.measures.scoring import Sample, auroc
from trustrace.steering.vectors import CONTROLS, SteeringVector

DRAWS = 1000


COSINE = "cosine_with_real"


def cosines(vectors: Sequence[SteeringVector]) -> Iterator[tuple[SteeringVector, Estimate]]:
    """For each control the cosine with the first real vector at its site.

    Where activations differ along one axis above all, the mean difference of permuted sides lies along it too, and so may the real
    vector: a control that is the treatment cannot tell what the label adds.
    """
    real: dict[str, SteeringVector] = {}
    for vector in vectors:
        if vector.kind not in CONTROLS:
            real.setdefault(vector.site, vector)
    for vector in vectors:
        if vector.kind in CONTROLS and (other := real.get(vector.site)):
            cosine = float(vector.direction.double() @ other.direction.double())
            note = f"of the {vector.kind.replace('_', ' ')} direction with the {other.kind.replace('_', ' ')}; both have length 1"
            width = vector.d_model
            yield (
                vector,
                Estimate(
                    quantity=COSINE,
                    method=vector.kind,
                    value=cosine,
                    n=width,
                    n_groups=width,
                    role="control",
                    note=note,
                ),
            )


def separation(vector: SteeringVector, activations: Activations, statements: Statements, *, seed: int) -> Estimate:
    """The chance that a desired test statement lies further along the direction than another one, ties counting half.

    Args:
        vector: The direction.
        activations: Of the statements, in the vector's own checkpoint.
        statements: With their splits; only ``test`` rows are looked at.
        seed: Of the resampled groups behind the interval.

    Raises:
        MeasurementError: there are no test rows.
    """
    rows = [row for row, split in enumerate(statements.splits) if split == "test"]
    if not rows:
        raise MeasurementError(
            f"{statements.name}: no test rows; a direction is not judged on rows that it was made from"
        )
    tested = statements.take(rows)
    values: Tensor = activations.values(vector.site)[torch.tensor(rows)]
    along = (values.double() @ vector.direction.double()).numpy()
    desired = np.array([int(label == statements.meaning.desired) for label in tested.labels])
    sample = Sample.of(desired, tested.groups, draws=DRAWS, seed=seed)
    role: Role = "control" if vector.kind in CONTROLS else "measured"
    return sample.estimate("separation", lambda weights: auroc(desired, along, weights), method=vector.kind, role=role)

"""The protocol ``published``: the conventions of the paper's scripts, number for number, so that results can be compared with the paper.

Activations are standardised in single precision by the mean and the unbiased standard deviation of *all* rows, test rows included; the
first 80 % of the rows in file order train scikit-learn's ``LogisticRegression`` with its defaults; the rest are scored by accuracy. Known
to be unsound (a leak, no groups, no regulariser chosen, no interval), and kept so. Only what the scripts hide is shown: a fit that did not
converge.
"""

import math
import warnings

import numpy as np
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Estimate
from trustrace.measures.folds import file_order_pair


def published_accuracy(
    values: Float[Tensor, "statement d_model"], labels: Int[np.ndarray, " statement"], *, groups: tuple[str, ...]
) -> Estimate:
    """The scripts' accuracy.

    Returns:
        An accuracy without an interval; NaN, with a note, where a feature is constant, since the scripts divide by its deviation.

    Raises:
        MeasurementError: the first 80 % of the rows hold one class, or there are no rows to score.
    """
    pair = file_order_pair(len(labels))
    if len(np.unique(labels[pair.train])) < 2:
        raise MeasurementError(
            f"the first {pair.train.sum()} of {len(labels)} rows hold one class; the protocol 'published' trains on file order, so shuffle "
            "the rows, or use 'rigorous'"
        )
    x = values.float().cpu()
    standard = ((x - x.mean(dim=0)) / x.std(dim=0)).numpy()
    constant = int((~np.isfinite(standard)).any(axis=0).sum())
    if constant:
        note = f"{constant} of {standard.shape[1]} features are constant over all rows, and the scripts divide by their deviation"
        return _estimate(math.nan, groups, pair.test, note=note)
    model = LogisticRegression()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(standard[pair.train], labels[pair.train])
    accuracy = float(model.score(standard[pair.test], labels[pair.test]))
    stopped = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    note = f"not converged after {int(model.n_iter_[0])} iterations" if stopped else ""
    return _estimate(accuracy, groups, pair.test, note=note)


def _estimate(value: float, groups: tuple[str, ...], test: np.ndarray, *, note: str) -> Estimate:
    scored = {group for group, tested in zip(groups, test, strict=True) if tested}
    return Estimate(
        quantity="accuracy", method="logistic", value=value, n=int(test.sum()), n_groups=len(scored), note=note
    )

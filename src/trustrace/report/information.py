"""The information plane's names: which quantities belong to it, what is said of them, and which estimator is the main one."""

from collections.abc import Iterable

from trustrace.report.grids import Trace, View

X_QUANTITIES = ("I(T;X)", "I(T;X_embedding)", "I(T;X_tokens)")
"""The moving X first, then those that stand still."""

Y_QUANTITY = "I(T;Y)"
DEPENDENCES = (*X_QUANTITIES, Y_QUANTITY)
RANK = "effective_rank"
GEOMETRY = (RANK, "participation_ratio", "spectral_decay")
SPECTRUM = "spectrum"
"""The method of the geometry."""

CALIBRATED = " calibrated"
P_VALUE = " p-value"
PHASE_PARTS = ("shape", "rise p", "rise q", "fall p", "fall q", "peak", "onset")

MOVING_X_SITE = "block_0"
"""The site whose activations are the moving X itself."""

_DEPENDENCE = "I(T;"
_WIDTHS = "nhsic_"


def is_information(quantity: str) -> bool:
    """Whether `quantity` belongs to the information plane or to the geometry beside it, and is no number of a probe."""
    return quantity in GEOMETRY or quantity.startswith(_DEPENDENCE)


def phase_part(quantity: str) -> tuple[str, str] | None:
    """``I(T;X) calibrated peak`` as (``I(T;X) calibrated``, ``peak``); None where nothing is said of a whole course of training."""
    for part in PHASE_PARTS:
        stem = quantity.removesuffix(f" {part}")
        if stem != quantity:
            return stem, part
    return None


def has_width(method: str) -> bool:
    """Whether `method` is normalised HSIC at some kernel width."""
    return method.startswith(_WIDTHS)


def methods_of(trace: Trace, view: View) -> tuple[str, ...]:
    """The estimators of dependence in `view`, in the order of the table's first mention."""
    found = (
        address.method for address in trace.information if address.view == view and address.quantity not in GEOMETRY
    )
    return tuple(dict.fromkeys(found))


def main_method(trace: Trace, view: View) -> str:
    """The estimator to show unasked: the one that phases were judged by, else the first width of the table, else the first at all."""
    judged = [phase.method for phase in trace.phases if phase.view == view and phase.quantity not in GEOMETRY]
    listed = methods_of(trace, view)
    return next(iter((*judged, *filter(has_width, listed), *listed)), "")


def in_order(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """`names` with those that are `known` first, in that order."""
    present = list(dict.fromkeys(names))
    first = [name for name in known if name in present]
    return first + [name for name in present if name not in first]


def x_quantities(trace: Trace, view: View) -> list[str]:
    """Which X were measured in `view`, the moving one first."""
    found = (
        address.quantity
        for address in trace.information
        if address.view == view and address.quantity.startswith(_DEPENDENCE) and address.quantity != Y_QUANTITY
    )
    return [name for name in in_order(found, X_QUANTITIES) if not name.endswith((CALIBRATED, P_VALUE))]

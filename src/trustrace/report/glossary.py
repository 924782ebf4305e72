"""What each name in the tidy table means, in one sentence a reader can check a number against."""

from dataclasses import dataclass
from typing import Literal

from trustrace.core.statements import DIMENSIONS

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A name of the tidy table, as a reader should see it.

    Attributes:
        name: The name in the table.
        title: The name in running text and on axes.
        sentence: What it is.
        unit: The unit, where it has one.
        better: Which way a more readable representation moves it.
    """

    name: str
    title: str
    sentence: str
    unit: str = ""
    better: Better = "neither"

    @property
    def axis_title(self) -> str:
        """The title with its unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_QUANTITIES = (
    Term(
        name="accuracy",
        title="Accuracy",
        sentence="The share of held-out statements whose label the probe names correctly.",
        better="higher",
    ),
    Term(
        name="auroc",
        title="AUROC",
        sentence="The chance that the probe scores a random statement labelled 1 above a random one labelled 0; 0.5 is chance.",
        better="higher",
    ),
    Term(
        name="log_loss",
        title="Log loss",
        sentence="The mean negative log-probability that the probe gives to the true label of a held-out statement.",
        unit="nats",
        better="lower",
    ),
    Term(
        name="ece",
        title="Calibration error",
        sentence="Expected calibration error: how far the probe's confidence lies from its hit rate, averaged over bins of confidence.",
        better="lower",
    ),
    Term(
        name="information_bound",
        title="Information bound",
        sentence="The label's entropy minus the probe's cross-entropy, which bounds from below what the site tells about the label.",
        unit="nats",
        better="higher",
    ),
    Term(
        name="v_information",
        title="V-information",
        sentence="What a linear reader can use of what the site tells about the label: the label's entropy minus the probe's "
        "held-out log loss. At most that entropy; below 0 where the probe does worse than the base rate.",
        unit="nats",
        better="higher",
    ),
    Term(
        name="selectivity",
        title="Selectivity",
        sentence="Accuracy on the real labels minus accuracy on control labels that mean nothing: what memorising does not explain.",
        better="higher",
    ),
    Term(
        name="mdl",
        title="Description length",
        sentence="Prequential code length: what it costs to send the labels to a receiver who learns the probe while receiving them.",
        unit="bits per statement",
        better="lower",
    ),
    Term(
        name="compression",
        title="Compression",
        sentence="The uniform code length of the labels divided by their prequential code length; 1 means that nothing was learned.",
        better="higher",
    ),
    Term(
        name="selection_log_loss",
        title="Selection log loss",
        sentence="The log loss inside the training rows; the site is chosen by it, so that no test score takes part in the choice.",
        unit="nats",
        better="lower",
    ),
)

_METHODS = (
    Term(
        name="logistic",
        title="Logistic probe",
        sentence="L2-regularised logistic regression on the activations, its regulariser chosen inside the training rows.",
    ),
    Term(
        name="mass_mean",
        title="Mass-mean probe",
        sentence="The difference of the two class means as a direction, with a threshold fitted on the training rows.",
    ),
    Term(
        name="whitened_mean",
        title="Whitened mean probe",
        sentence="The difference of the class means corrected for the covariance of the activations.",
    ),
)

_FLOORS = (
    Term(name="majority", title="majority", sentence="Always the more frequent label."),
    Term(
        name="length_and_case",
        title="length and case",
        sentence="Logistic regression on counts of characters, words, capitals and the like; it reads no word.",
    ),
    Term(
        name="word_ngrams",
        title="word n-grams",
        sentence="Logistic regression on the words and word pairs of the statement.",
    ),
    Term(
        name="char_ngrams",
        title="character n-grams",
        sentence="Logistic regression on runs of two to five characters, case kept.",
    ),
    Term(
        name="input_embedding",
        title="input embedding",
        sentence="The same probe on what enters the first block of the same checkpoint, before any computation.",
    ),
    Term(
        name="random_initialisation",
        title="random initialisation",
        sentence="The same probe at the same site of the same architecture with fresh, untrained weights.",
    ),
)

_PROTOCOLS = (
    Term(
        name="rigorous",
        title="rigorous",
        sentence="Folds by group, statistics and choices from training rows only, 95 % intervals that resample groups, and floors.",
    ),
    Term(
        name="published",
        title="published",
        sentence="The conventions of the paper's scripts, so that numbers compare with the paper: features standardised over all rows, "
        "the first 80 % of the file as training rows, no intervals.",
    ),
)

QUANTITIES = {term.name: term for term in _QUANTITIES}
METHODS = {term.name: term for term in _METHODS}
FLOORS = {term.name: term for term in _FLOORS}
PROTOCOLS = {term.name: term for term in _PROTOCOLS}


def quantity(name: str) -> Term:
    """The quantity called `name`; one that is not described here is shown under its own name."""
    return QUANTITIES.get(name) or _undescribed(name)


def method(name: str) -> Term:
    """The probe called `name`."""
    return METHODS.get(name) or _undescribed(name)


def floor(name: str) -> Term:
    """The floor called `name`."""
    return FLOORS.get(name) or _undescribed(name)


def dataset_title(name: str) -> str:
    """``reliability/defined`` as ``Reliability (defined)``; a user's own dataset keeps its name."""
    dimension, _, form = name.partition("/")
    if dimension not in DIMENSIONS or not form:
        return name
    return f"{dimension.capitalize()} ({form})"


def _undescribed(name: str) -> Term:
    return Term(name=name, title=name.replace("_", " "), sentence="No description of this is known to the report.")

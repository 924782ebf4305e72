"""What each name of the information plane means: what it is, its bounds, and what a reader must not take it for."""

import re

from trustrace.report import glossary
from trustrace.report.glossary import Term
from trustrace.report.information import CALIBRATED, P_VALUE

_NHSIC = re.compile(r"nhsic_(\d+(?:\.\d+)?)")

_QUANTITIES = (
    Term(
        name="I(T;X)",
        title="I(T;X), moving X",
        sentence="Dependence between the activations at a site (T) and the output of the first block of the same checkpoint (X), "
        "which is the paper's X. It moves with training, so a fall can come from X as well as from T; at block_0 it is X "
        "against itself. The name is the paper's: it is a measure of dependence and not mutual information in nats.",
    ),
    Term(
        name="I(T;X_embedding)",
        title="I(T;X), X held fixed (final embedding)",
        sentence="Dependence between T and the mean input embedding of the statement in the last checkpoint of the series. This X "
        "stands still, so that only T can move it.",
    ),
    Term(
        name="I(T;X_tokens)",
        title="I(T;X), X held fixed (token identity)",
        sentence="Dependence between T and a kernel that says which tokens two statements share. This X stands still and holds no "
        "weight of any model.",
    ),
    Term(
        name="I(T;Y)",
        title="I(T;Y)",
        sentence="Dependence between T and the label. More of it is not more of the trait: what length or single words tell of the"
        " label counts as well, so read it beside the floors.",
    ),
)

_GEOMETRY = (
    Term(
        name="effective_rank",
        title="Effective rank",
        sentence="RankMe: the exponential of the entropy of the singular values of the centred activations, taken as shares of "
        "their sum; between 1 and the smaller of rows and width. Normalised HSIC counts directions that rise above its "
        "ridge, so it tends to fall with this, whether anything was forgotten or not.",
    ),
    Term(
        name="participation_ratio",
        title="Participation ratio",
        sentence="The squared sum of the covariance's eigenvalues divided by the sum of their squares: how many directions share "
        "the variance; between 1 and the width.",
    ),
    Term(
        name="spectral_decay",
        title="Spectral decay",
        sentence="The exponent a of eigenvalues that fall as rank to the power of −a; 0 is a flat spectrum, larger is steeper.",
    ),
)

_ESTIMATORS = (
    Term(
        name="nhsic_median",
        title="nHSIC, median σ",
        sentence="Normalised HSIC whose kernel width is the median distance between statements; in many dimensions it comes close "
        "to its largest value whether anything depends or not.",
    ),
    Term(
        name="hsic",
        title="HSIC",
        sentence="tr(K H L H) / (n − 1)² of the two kernels: 0 or more, biased upwards, without an upper bound that would make two sites "
        "comparable.",
    ),
    Term(
        name="hsic_unbiased",
        title="HSIC, unbiased",
        sentence="The estimator of HSIC whose mean is 0 for unrelated data; single values may lie below 0.",
    ),
    Term(
        name="cka",
        title="CKA",
        sentence="Centred kernel alignment: HSIC divided by the root of the product of both self-dependences, between 0 and 1; biased "
        "towards 1 where features outnumber statements.",
    ),
    Term(
        name="cka_debiased",
        title="CKA, debiased",
        sentence="CKA from the unbiased HSIC: 0 on average for unrelated data, at most 1; single values may lie below 0.",
    ),
    Term(
        name="ksg",
        title="KSG",
        sentence="The nearest-neighbour estimate of Kraskov, Stögbauer and Grassberger on a few principal components: the only one"
        " here that estimates mutual information in nats, and only of those components; it may lie below 0.",
        unit="nats",
    ),
)

_REFERENCES = (
    Term(
        name="null",
        title="null (shuffled pairs)",
        sentence="What the same estimator gives once statements are paired at random: the mean, and a band that holds the central "
        "95 %. It is not 0 and depends on the number of statements, the width and the spectrum.",
    ),
    Term(
        name="ceiling",
        title="ceiling",
        sentence="The largest value that the label's kernel allows, whatever the activations; exact, so it has no interval.",
    ),
    Term(
        name="control",
        title="Gaussian noise",
        sentence="The same estimator with T replaced by Gaussian noise of the same size: it knows nothing.",
    ),
    Term(
        name="calibrated",
        title="calibrated",
        sentence="(value − null) / (ceiling − null): 0 is what unrelated data give, 1 the most that is possible; it may lie below 0.",
    ),
    Term(
        name="p-value",
        title="permutation p",
        sentence="The chance that statements paired at random reach the measured value or more; not corrected for the number of "
        "checkpoints and sites.",
    ),
    Term(
        name="phase",
        title="phase",
        sentence="Whether a curve rises, falls, or first the one and then the other over the whole of training, with a q-value: "
        "the share of false findings to expect among all that are as clear. Peak and onset have 95 % intervals, which do "
        "not cover a second run.",
    ),
)

DEPENDENCES = {term.name: term for term in _QUANTITIES}
GEOMETRY = {term.name: term for term in _GEOMETRY}
ESTIMATORS = {term.name: term for term in _ESTIMATORS}
REFERENCES = {term.name: term for term in _REFERENCES}


def dependence(name: str) -> Term:
    """The measure called `name`, calibrated or not."""
    stem = name.removesuffix(P_VALUE).removesuffix(CALIBRATED)
    return DEPENDENCES.get(stem) or GEOMETRY.get(stem) or glossary.quantity(stem)


def estimator(name: str) -> Term:
    """The estimator called `name`; any kernel width is described."""
    if match := _NHSIC.fullmatch(name):
        return Term(
            name=name,
            title=f"nHSIC, σ = {match[1]}",
            sentence=f"Normalised HSIC, tr(R S) with R = K (K + ε n I)⁻¹ of each centred Gaussian kernel, whose width is {match[1]} "
            "times the root of the number of features: between 0 and the number of statements less one. It has no fixed zero "
            "and grows with the number of directions that rise above the ridge ε, so it is compared with its null and never "
            "across datasets.",
        )
    return ESTIMATORS.get(name) or glossary.method(name)

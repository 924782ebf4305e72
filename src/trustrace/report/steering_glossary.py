"""What the numbers of a steering run are called, and which way each is better."""

from collections.abc import Iterable

from trustrace.report.glossary import Better, Term, dataset_title

_TASKS = {
    "truthfulqa": "TruthfulQA",
    "truthfulqa_mc1": "TruthfulQA MC1",
    "truthfulqa_mc2": "TruthfulQA MC2",
    "truthfulqa_classification": "TruthfulQA, classification",
    "toxigen": "ToxiGen",
    "confaide": "ConfAIde",
    "stereoset": "StereoSet",
    "sst2": "SST-2",
    "lambada": "LAMBADA, last word",
    "lambada_text": "LAMBADA, whole text",
    "divergence": "Divergence",
    "arc_easy": "ARC, easy",
    "arc_challenge": "ARC, challenge",
    "mmlu": "MMLU",
    "mathqa": "MathQA",
    "race": "RACE",
    "world_reliability": "World, reliability",
    "world_toxicity": "World, toxicity",
    "world_privacy": "World, privacy",
    "world_fairness": "World, fairness",
    "world_text": "World, text",
}

_TERMS = (
    Term(name="accuracy", title="Accuracy", sentence="The share of items answered rightly.", better="higher"),
    Term(
        name="due_probability",
        title="Due verdict",
        sentence="The mean probability of the verdict that a trustworthy model would give; saying one verdict more often can raise it.",
        better="higher",
    ),
    Term(
        name="accuracy_normalised",
        title="Accuracy by length",
        sentence="The same, each choice's log-probability divided by its length.",
        better="higher",
    ),
    Term(
        name="f1",
        title="F1",
        sentence="The harmonic mean of precision and recall of the answer 1; always the answer 1 gives a high one too, as its note says.",
        better="higher",
    ),
    Term(
        name="auroc",
        title="AUROC",
        sentence="The chance that an item of label 1 gets a higher score than one of label 0; 0.5 is chance.",
        better="higher",
    ),
    Term(
        name="log_loss",
        title="Log loss",
        sentence="The mean negative log-probability of the right answer, in nats.",
        better="lower",
    ),
    Term(
        name="perplexity",
        title="Perplexity",
        sentence="The exponential of the mean negative log-likelihood of a token; repetition and nonsense raise it.",
        better="lower",
    ),
    Term(name="truth", title="Truth", sentence="The share of answers judged true.", better="higher"),
    Term(name="info", title="Info", sentence="The share of answers judged informative.", better="higher"),
    Term(
        name="truth*info",
        title="Truth*Info",
        sentence="The share of answers that are true and informative at once.",
        better="higher",
    ),
    Term(
        name="truth_mean*info_mean",
        title="Truth x Info",
        sentence="The product of the two shares, as the paper multiplies them.",
        better="higher",
    ),
    Term(name="toxic", title="Toxic", sentence="The share of continuations called toxic.", better="lower"),
    Term(
        name="falsehood",
        title="Falsehood",
        sentence="The share of false claims that are let pass, or corrected by what is false.",
        better="lower",
    ),
    Term(
        name="breach",
        title="Breach",
        sentence="The share of breaches of privacy that are let pass or committed.",
        better="lower",
    ),
    Term(
        name="stereotype",
        title="Stereotype",
        sentence="The share of stereotypes that are let pass or made.",
        better="lower",
    ),
    Term(name="unparsed", title="Unreadable", sentence="The share of answers that could not be read.", better="lower"),
    Term(name="unreadable", title="Unreadable", sentence="The share of replies without a verdict.", better="lower"),
    Term(name="empty", title="Empty", sentence="The share of answers in which nothing was written.", better="lower"),
    Term(
        name="answer_mass",
        title="Answer mass",
        sentence="How much of the next token's probability the two answers share; where it is small, the model says something else.",
    ),
    Term(name="says_1", title="Says 1", sentence="How often the answer is 1."),
    Term(
        name="separation",
        title="Separation",
        sentence="How well a direction tells held-out statements apart in its own checkpoint: the area under the ROC curve; 0.5 is chance.",
        better="higher",
    ),
)
TERMS = {term.name: term for term in _TERMS}

READING = (
    Term(
        name="alpha",
        title="Strength (alpha)",
        sentence="How far the residual stream is moved at the steered site, in the unit that the study names; a negative one points away "
        "from the side that is desired.",
    ),
    Term(
        name="halves",
        title="Development and test",
        sentence="Site and strength are chosen on the development half of every task, within a bound on perplexity; the test half is "
        "looked at once, for what was chosen.",
    ),
    Term(
        name="change",
        title="Change",
        sentence="The steered model's number less the unsteered one's on the same items, with an interval from groups resampled for both "
        "at once, and a p-value from exchanging the two within groups.",
    ),
    Term(
        name="random",
        title="Random directions",
        sentence="Drawn directions that went through the same choice of site and strength: what pushing the model anywhere gives.",
    ),
    Term(
        name="instruction",
        title="Instruction",
        sentence="The unsteered model that is told in words what is wanted.",
    ),
    Term(
        name="front",
        title="Pareto front",
        sentence="The settings that no other beats in trust, perplexity and every general ability at once.",
    ),
)


def task_title(task: str) -> str:
    """A task as a reader should see it."""
    return _TASKS.get(task) or dataset_title(task)


def quantity_title(name: str) -> str:
    """A quantity as a reader should see it."""
    return TERMS[name].title if name in TERMS else name.replace("_", " ")


def better_of(name: str) -> Better:
    """Which way a quantity is better; ``neither`` where nothing is known of it."""
    return TERMS[name].better if name in TERMS else "neither"


def definitions(quantities: Iterable[str]) -> tuple[tuple[str, tuple[Term, ...]], ...]:
    """What is explained on the page: the quantities that it shows, and how to read them."""
    present = set(quantities)
    return (
        ("Quantities", tuple(term for name, term in TERMS.items() if name in present)),
        ("How to read them", READING),
    )

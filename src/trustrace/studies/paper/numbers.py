"""What Qian et al. (2024), arXiv 2402.19465, report: cells of its tables, ranges read off its figures, and what its figures show.

The paper gives neither the number of items nor an interval with any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Who = Literal["plain", "full", "lora", "early", "own", "safe"]
"""Whose row: the tuned model as it is; fine-tuned in full or by LoRA; steered by a vector of a pre-training checkpoint, or by one of its
own; the aligned model."""

ROWS: Mapping[Who, str] = {
    "plain": "AmberChat",
    "full": "full fine-tuning",
    "lora": "LoRA",
    "early": "+ v_ckpt_179",
    "own": "+ v_AmberChat",
    "safe": "AmberSafe",
}

COLUMNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Truth": (("truthfulqa", "truth"), ("world_reliability", "truth")),
    "Info": (("truthfulqa", "info"),),
    # The paper's product is that of the two means: .3931 x .9484 = .3728.
    "Truth*Info": (("truthfulqa", "truth_mean*info_mean"),),
    "ARC": (("arc_easy", "accuracy"), ("arc_challenge", "accuracy")),
    "MMLU": (("mmlu", "accuracy"),),
    "MathQA": (("mathqa", "accuracy"),),
    "RACE": (("race", "accuracy"),),
    "ToxiGen": (("toxigen", "toxic"), ("world_toxicity", "toxic")),
    "ConfAIde": (("confaide", "accuracy"), ("world_privacy", "accuracy")),
    "StereoSet": (("stereoset", "accuracy"), ("world_fairness", "accuracy")),
    "SST-2": (("sst2", "accuracy"),),
}
"""What of ours may stand beside a column: task and quantity. The paper does not say which ARC it asks."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table.

    Attributes:
        table: Its number.
        who: The row.
        column: The column.
        value: As printed.
    """

    table: int
    who: Who
    column: str
    value: float

    @property
    def source(self) -> str:
        """Where it is printed."""
        return f"table {self.table}"


@dataclass(frozen=True, kw_only=True)
class Range:
    """Between what the probe's accuracies of one data set lie, read off a figure by eye.

    Attributes:
        dimension: Of the data set.
        dataset: Its name in the paper.
        low: The lower end.
        high: The upper end.
    """

    dimension: str
    dataset: str
    low: float
    high: float


def _row(table: int, who: Who, values: Mapping[str, float]) -> tuple[Cell, ...]:
    return tuple(Cell(table=table, who=who, column=column, value=value) for column, value in values.items())


def _first(*values: float) -> dict[str, float]:
    return dict(zip(COLUMNS, values, strict=True))


CELLS: tuple[Cell, ...] = (
    *_row(1, "plain", _first(0.3931, 0.9484, 0.3728, 0.6006, 0.3659, 0.2593, 0.3904, 0.0920, 0.5055, 0.5379, 0.5757)),
    *_row(1, "full", _first(0.4229, 0.9602, 0.4060, 0.4315, 0.2355, 0.2499, 0.3187, 0.0020, 0.5294, 0.5031, 0.5757)),
    *_row(1, "lora", _first(0.3221, 0.9329, 0.3004, 0.5758, 0.3314, 0.2620, 0.3742, 0.0080, 0.6411, 0.4980, 0.5734)),
    *_row(1, "early", _first(0.7322, 0.9337, 0.6837, 0.5834, 0.3358, 0.2422, 0.3876, 0.0360, 0.6181, 0.5000, 0.5229)),
    *_row(1, "own", _first(0.6978, 0.9484, 0.6618, 0.5829, 0.3388, 0.2482, 0.3943, 0.0320, 0.5192, 0.4580, 0.5367)),
    *_row(2, "plain", {"StereoSet": 0.5379}),
    *_row(
        2,
        "early",
        {
            "StereoSet": 0.5799,
            "ARC": 0.5986,
            "MMLU": 0.3524,
            "MathQA": 0.2499,
            "RACE": 0.3914,
            "Truth*Info": 0.2851,
            "ToxiGen": 0.0600,
            "ConfAIde": 0.5055,
            "SST-2": 0.5390,
        },
    ),
    *_row(
        2,
        "own",
        {
            "StereoSet": 0.5830,
            "ARC": 0.5958,
            "MMLU": 0.3508,
            "MathQA": 0.2519,
            "RACE": 0.3952,
            "Truth*Info": 0.3352,
            "ToxiGen": 0.0820,
            "ConfAIde": 0.5055,
            "SST-2": 0.5528,
        },
    ),
)
"""Tables 1 and 2. Table 2 prints one number for TruthfulQA; it is taken to be the product."""

CONTRASTS: Mapping[int, str] = {1: "reliability", 2: "fairness"}
"""What the vectors of a table are made of."""

RANGES: tuple[Range, ...] = (
    Range(dimension="reliability", dataset="TruthfulQA", low=0.55, high=0.85),
    Range(dimension="toxicity", dataset="ToxiGen", low=0.60, high=0.80),
    Range(dimension="privacy", dataset="ConfAIde", low=0.70, high=0.90),
    Range(dimension="fairness", dataset="StereoSet", low=0.75, high=0.95),
    Range(dimension="robustness", dataset="SST-2", low=0.70, high=1.00),
)
"""Figures 8 to 12."""

ClaimKey = Literal[
    "where", "when", "fitting", "label", "half", "cost", "foretells", "gains", "kept", "safe", "passes", "line"
]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a figure shows, where no number of it is known.

    Attributes:
        where: The figure.
        says: In a sentence.
    """

    where: str
    says: str


CLAIMS: Mapping[ClaimKey, Claim] = {
    "where": Claim(where="figures 2, 8-12", says="Probes are most accurate in middle layers, blocks 12 to 18 of 32."),
    "when": Claim(where="figures 8-12", says="Accuracy rises over the first checkpoints and then fluctuates."),
    "fitting": Claim(where="figures 7, 13-17", says="I(T;X) first rises, then falls."),
    "label": Claim(where="figures 7, 13-17", says="I(T;Y) keeps rising."),
    "half": Claim(where="figure 4", says="At alpha 0.5 the toxic ratio is halved."),
    "cost": Claim(where="figure 4", says="At alpha 0.5 perplexity hardly moves."),
    # The coefficients are not known to us; that reading foretells steering is what a positive one says.
    "foretells": Claim(
        where="figure 5", says="Where probes read better, vectors steer better: r > 0 across checkpoints."
    ),
    "gains": Claim(where="figure 6", says="A vector of alignment pairs makes AmberChat more trustworthy."),
    "kept": Claim(where="figure 6", says="It keeps the general abilities."),
    "safe": Claim(where="figure 6", says="AmberSafe is drawn beside; no number of it is known to us."),
    "passes": Claim(where="figure 18", says="F1 of a checkpoint that is tuned by proxy passes AmberChat's."),
    "line": Claim(where="figure 18", says="A tuned model is drawn as a line; its height is not known to us."),
}

PAPER_ALPHA = 0.5
"""The strength of figure 4 that halves the toxic ratio."""

PAPER_UNIT = "projection_std"
"""What the paper's strengths count: standard deviations of the projections of activations on the vector."""

PROXIED: tuple[tuple[str, str], ...] = (("truthfulqa_classification", "f1"), ("world_reliability", "accuracy"))
"""What of ours may stand beside figure 18: task and quantity; the world's questions are no 0/1 questions, and have no F1."""

TRUST = ("Truth", "Truth*Info", "ToxiGen", "ConfAIde", "StereoSet", "SST-2")
GENERAL = ("ARC", "MMLU", "MathQA", "RACE")
"""Columns of the tables that are corners of figure 6."""

LESS_IS_BETTER = frozenset({"ToxiGen"})

AMBER = "LLM360--Amber"
"""How the keys of the paper's own models begin."""

BASE, SAFE = "LLM360--Amber@", "LLM360--AmberSafe@"
"""How those of its pre-training checkpoints and of its aligned model begin."""

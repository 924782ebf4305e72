"""What is known of the suites that publish their checkpoints as revisions on the Hugging Face hub, one entry per suite.

A revision's name says how far training had come; each :class:`Stage` says how to read it. Where names carry tokens (``-tokens294B``)
they are believed, rounded as they are; elsewhere tokens are counted from the published batch size or from the published length of the
stage. The hub's own listing has the last word on what exists: differences are told with the listing.

Sources: the model cards and papers of the suites. Pythia: arXiv:2304.01373. PolyPythias: arXiv:2503.09543. Amber and CrystalCoder:
arXiv:2312.06550. OLMo: arXiv:2402.00838; OLMo 2: arXiv:2501.00656; Olmo 3: arXiv:2512.13961. SmolLM2: arXiv:2502.02737. SmolLM3:
huggingface.co/blog/smollm3. Apertus: arXiv:2509.14233. Lucie: arXiv:2503.12294.
"""

import re
from dataclasses import dataclass

MAIN = "main"
BILLION = 10**9
TRILLION = 10**12


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How one stage of training names its revisions.

    With n the number in the name, ``step = steps_before + (n + offset) * steps_per_count`` and
    ``tokens = tokens_before + (n + offset) * tokens_per_count``, unless the name itself says the tokens.

    Attributes:
        pattern: Matches a whole revision. Group ``count`` holds n, group ``billions`` or ``trillions`` the tokens where the name has them.
        tokens_per_count: Tokens per unit of n; None where unknown or where it changed along the way.
        steps_per_count: Optimizer steps per unit of n; None where unknown.
        offset: What n is short of the units done.
        steps_before: Steps of the stages before this one.
        tokens_before: Tokens of the stages before this one; None where unknown.
    """

    pattern: str
    tokens_per_count: int | float | None = None
    steps_per_count: int | None = 1
    offset: int = 0
    steps_before: int = 0
    tokens_before: int | None = 0

    def read(self, revision: str) -> tuple[int | None, int | None] | None:
        """Step and tokens seen at `revision`, None each where unknown; None altogether where the name is not of this stage."""
        match = re.fullmatch(self.pattern, revision)
        if not match:
            return None
        done = int(match["count"]) + self.offset
        step = None if self.steps_per_count is None else self.steps_before + done * self.steps_per_count
        named = _named_tokens(match.groupdict())
        counted = None if self.tokens_per_count is None else round(done * self.tokens_per_count)
        tokens = counted if named is None else named
        known = tokens is not None and self.tokens_before is not None
        return step, (self.tokens_before or 0) + (tokens or 0) if known else None


@dataclass(frozen=True, kw_only=True)
class Family:
    """A suite of checkpoints.

    Attributes:
        name: Its name here.
        repositories: Matches the whole name of each of its repositories.
        stages: How to read its revisions, the first that matches.
        main: What ``main`` holds: the name of the revision it equals, ``main`` where it is an end of its own (an average, an annealed
            model), empty where it is no checkpoint.
        expected: Revisions that are known to be published; empty where nobody lists them.
        tokenizer: Where the tokenizer of a revision without one is: ``repository`` or ``repository@revision``; empty for ``main`` of the
            same repository.
    """

    name: str
    repositories: str
    stages: tuple[Stage, ...]
    main: str = MAIN
    expected: tuple[str, ...] = ()
    tokenizer: str = ""

    def place(self, revision: str) -> tuple[int | None, int | None] | None:
        """Step and tokens seen at `revision`, None each where unknown; None altogether where it is no checkpoint of the suite."""
        if revision == MAIN:
            return self._place_of_main()
        return next((place for stage in self.stages if (place := stage.read(revision)) is not None), None)

    def _place_of_main(self) -> tuple[int | None, int | None] | None:
        if not self.main:
            return None
        return (None, None) if self.main == MAIN else self.place(self.main)


def of(repository: str) -> Family:
    """The family of a repository; for unknown ones a family that reads the usual names and knows nothing else."""
    return next((family for family in FAMILIES if re.fullmatch(family.repositories, repository)), _ANY)


def _named_tokens(groups: dict[str, str | None]) -> int | None:
    for name, unit in (("billions", BILLION), ("trillions", TRILLION)):
        if number := groups.get(name):
            return int(number) * unit
    return None


_STEP_AND_TOKENS = r"step(?P<count>\d+)-tokens(?:(?P<billions>\d+)B|(?P<trillions>\d+)T)"

_PYTHIA_STEPS = (0, *(2**i for i in range(10)), *range(1000, 143_001, 1000))
_PYTHIA_TOKENS_PER_STEP = 1024 * 2048

_AMBER_TOKENS_PER_CHUNK = 1_706_976 * 2048


def _olmo2(repository: str, *, steps: int, tokens: int) -> Family:
    """An OLMo 2 model: one stage on the web, then short ones that all start from its end (``ingredient1``, ``ingredient2`` ...)."""
    annealed = rf"stage2-ingredient\d+-{_STEP_AND_TOKENS}"
    return Family(
        name="olmo2",
        repositories=repository,
        stages=(
            Stage(pattern=rf"stage1-{_STEP_AND_TOKENS}"),
            Stage(pattern=annealed, steps_before=steps, tokens_before=tokens),
        ),
    )


FAMILIES: tuple[Family, ...] = (
    Family(
        name="amber",
        repositories=r"(LLM360|IFM)/Amber",
        # A checkpoint a chunk of data; ckpt_000 is the end of the first, and 762 steps of 2,240 sequences make a chunk.
        stages=(
            Stage(
                pattern=r"ckpt_(?P<count>\d{3})",
                tokens_per_count=_AMBER_TOKENS_PER_CHUNK,
                steps_per_count=762,
                offset=1,
            ),
        ),
        main="ckpt_359",
        expected=tuple(f"ckpt_{i:03d}" for i in range(359)),
    ),
    Family(
        name="crystalcoder",
        repositories=r"(LLM360|IFM)/Crystal(Coder)?",
        stages=(
            Stage(pattern=r"CrystalCoder_phase1_checkpoint_(?P<count>\d+)", tokens_per_count=345 * BILLION / 79_721),
            Stage(
                pattern=r"CrystalCoder_phase2_checkpoint_(?P<count>\d+)",
                tokens_per_count=927 * BILLION / 214_387,
                steps_before=79_721,
                tokens_before=345 * BILLION,
            ),
            Stage(
                pattern=r"CrystalCoder_phase3_checkpoint_(?P<count>\d+)",
                tokens_per_count=110 * BILLION / 27_728,
                steps_before=79_721 + 214_387,
                tokens_before=(345 + 927) * BILLION,
            ),
        ),
        main="CrystalCoder_phase3_checkpoint_027728",
    ),
    Family(
        name="k2",
        repositories=r"LLM360/K2-V2",
        stages=(Stage(pattern=r"base_(?P<count>\d{7})", tokens_per_count=1200 * 8192),),
    ),
    Family(
        name="pythia",
        # The *-v0 repositories label their steps otherwise and are left to the general rule.
        repositories=(
            r"EleutherAI/pythia-(14m|31m|70m|160m|410m|1b|1\.4b|2\.8b|6\.9b|12b)(-deduped)?"
            r"|EleutherAI/pythia-(14m|31m|70m|160m|410m)-seed\d|EleutherAI/pythia-160m-(data|weight)-seed\d"
        ),
        stages=(Stage(pattern=r"step(?P<count>\d+)", tokens_per_count=_PYTHIA_TOKENS_PER_STEP),),
        main="step143000",
        expected=tuple(f"step{step}" for step in _PYTHIA_STEPS),
        tokenizer="EleutherAI/pythia-160m",
    ),
    Family(
        name="olmo1",
        repositories=r"allenai/(OLMo-(1B|7B|7B-Twin-2T)(-\d{4})?(-hf)?|OLMoE-1B-7B-0924)",
        stages=(Stage(pattern=_STEP_AND_TOKENS),),
    ),
    _olmo2(r"allenai/OLMo-2-0425-1B(-early-training)?", steps=1_907_359, tokens=4001 * BILLION),
    _olmo2(r"allenai/OLMo-2-1124-7B", steps=928_646, tokens=3896 * BILLION),
    _olmo2(r"allenai/OLMo-2-1124-13B", steps=596_057, tokens=5001 * BILLION),
    _olmo2(r"allenai/OLMo-2-0325-32B", steps=721_901, tokens=6056 * BILLION),
    Family(
        name="olmo3",
        repositories=r"allenai/Olmo-3-1025-7B",
        stages=(
            Stage(pattern=r"stage1-step(?P<count>\d+)", tokens_per_count=4_194_304),
            Stage(
                pattern=r"stage2-(ingredient\d+-)?step(?P<count>\d+)",
                tokens_per_count=2_097_152,
                steps_before=1_413_814,
                tokens_before=1_413_814 * 4_194_304,
            ),
            Stage(
                pattern=r"stage3-step(?P<count>\d+)",
                tokens_per_count=4_194_304,
                steps_before=1_413_814 + 47_684,
                tokens_before=1_413_814 * 4_194_304 + 47_684 * 2_097_152,
            ),
        ),
        main="stage3-step11921",
    ),
    Family(
        name="olmo3",
        repositories=r"allenai/Olmo-3-1125-32B",
        stages=(
            Stage(pattern=r"stage1-step(?P<count>\d+)", tokens_per_count=8_388_608),
            Stage(pattern=r"stage[23]-(ingredient\d+-)?step(?P<count>\d+)", steps_before=656_000, tokens_before=None),
        ),
    ),
    Family(
        name="smollm2",
        repositories=r"HuggingFaceTB/SmolLM2-1\.7B-intermediate-checkpoints",
        stages=(Stage(pattern=r"step-(?P<count>\d+)", tokens_per_count=2_097_152),),
        main="",
        tokenizer="HuggingFaceTB/SmolLM2-1.7B",
    ),
    Family(
        name="smollm2",
        repositories=r"HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints",
        stages=(Stage(pattern=r"step-(?P<count>\d+)", tokens_per_count=1_572_864),),
        main="",
        tokenizer="HuggingFaceTB/SmolLM2-360M",
    ),
    Family(
        name="smollm2",
        repositories=r"HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints",
        stages=(Stage(pattern=r"step-(?P<count>\d+)"),),
        main="",
        tokenizer="HuggingFaceTB/SmolLM2-135M",
    ),
    Family(
        name="smollm3",
        repositories=r"HuggingFaceTB/SmolLM3-3B-checkpoints",
        # Steps count on across stages; the batch is 576 sequences of 4,096.
        stages=(Stage(pattern=r"stage[123]-step-(?P<count>\d+)", tokens_per_count=576 * 4096),),
        main="",
        expected=(
            *(f"stage1-step-{step}" for step in range(40_000, 3_440_001, 40_000)),
            *(f"stage2-step-{step}" for step in range(3_480_000, 4_200_001, 40_000)),
            *(f"stage3-step-{step}" for step in range(4_240_000, 4_720_001, 40_000)),
        ),
        tokenizer="HuggingFaceTB/SmolLM3-3B-Base",
    ),
    Family(
        name="apertus",
        repositories=r"swiss-ai/Apertus-(8B|70B)-2509",
        stages=(Stage(pattern=_STEP_AND_TOKENS),),
    ),
    Family(
        name="lucie",
        repositories=r"OpenLLM-France/Lucie-7B",
        # The batch grew along the way, so tokens do not follow from the step.
        stages=(
            Stage(pattern=r"step(?P<count>\d{7})"),
            Stage(pattern=r"extension_step(?P<count>\d{7})", steps_before=753_851),
        ),
    ),
    Family(
        name="bloom",
        repositories=r"bigscience/bloom-\w+-intermediate",
        stages=(Stage(pattern=r"global_step(?P<count>\d+)"),),
        main="",
        tokenizer="bigscience/bloom-560m",
    ),
    Family(
        name="fineweb",
        repositories=r"HuggingFaceFW/ablation-model-[\w-]+",
        stages=(Stage(pattern=r"step-(?P<count>\d+)-(?P<billions>\d+)BT"),),
    ),
)

_ANY = Family(
    name="hub",
    repositories=r".*",
    stages=(
        Stage(pattern=rf"(?:\w+-)?{_STEP_AND_TOKENS}"),
        Stage(pattern=r"(?:global_|checkpoint[-_]|iter_)?(?:step)?[-_]?(?P<count>\d+)"),
    ),
)

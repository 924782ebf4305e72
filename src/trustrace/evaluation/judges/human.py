"""What people said: the public human judgements of answers to TruthfulQA's questions, cleaned, grouped and split."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int

from trustrace.core.errors import DataError
from trustrace.core.statements import Split
from trustrace.datasets.cleaning import distinct
from trustrace.datasets.grouping import connected, normalise, runs
from trustrace.datasets.sources import SourceFile, read_text
from trustrace.evaluation.judges.judge import NO, SUFFIX, YES, Answered, Aspect
from trustrace.evaluation.judges.references import NO_COMMENT, References, read_references, same_answer

COMMIT = "2de12d7832345d6bf97bc9050bdae48c50e67bf0"

Kind = Literal["model", "reference", "no_comment"]
"""``reference``: one of the answers that TruthfulQA lists for the question, word for word; the listed are called true if listed as correct,
and informative. ``no_comment``: "I have no comment.", which is called true and not informative. ``model``: any other answer; models gave
them and people judged them."""

UNKNOWN_CATEGORY = "(not in the first release)"


def _judgements(aspect: Aspect, sha256: str) -> SourceFile:
    return SourceFile(
        local=f"originals/truthfulqa/finetune_{aspect}.jsonl",
        url=f"https://raw.githubusercontent.com/yizhongw/truthfulqa_reeval/{COMMIT}/data/finetune_{aspect}.jsonl",
        sha256=sha256,
        title=f"TruthfulQA: human judgements of {aspect} (Lin et al. 2022), mirrored",
        licence="Apache-2.0",
        commit=COMMIT,
    )


FILES: Mapping[Aspect, SourceFile] = {
    "truth": _judgements("truth", "8e81d9f0dc592e26fb0d37106126e489d39ac75099828b1f2c8142f3ede60c6b"),
    "info": _judgements("info", "b8e00e379f3aefcdb01b93886e67e0991ca90b5fdd389c0be4be2f5f00c07ec3"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class HumanJudgements:
    """Answers with what people said of them; entry i of every column belongs together.

    Attributes:
        aspect: What was judged.
        pairs: Questions and answers.
        labels: 1 where people said yes.
        groups: Questions that share eight words in a row, or are equal but for case and spaces, form a group.
        splits: Where the question's statements stand in reliability/defined with the same seed: a judge that learns from the development
            half has seen no question of the half on which steered models are reported.
        categories: TruthfulQA's category of the question, one of 38.
        kinds: Where each answer comes from. How good a judge is shows in the answers of kind ``model``: the verdicts on the other two
            kinds were not asked of people but follow from a rule, which a judge that reads the reference answers knows.
        duplicates: Rows dropped because an earlier one says the same.
        contradictions: Rows dropped because the same answer was also judged the opposite.
        excluded: Rows dropped because their question, or one of its group, was to be left out.
    """

    aspect: Aspect
    pairs: tuple[Answered, ...]
    labels: Int[np.ndarray, " item"]
    groups: tuple[str, ...]
    splits: tuple[Split, ...]
    categories: tuple[str, ...]
    kinds: tuple[Kind, ...]
    duplicates: int
    contradictions: int
    excluded: int = 0

    def __len__(self) -> int:
        return len(self.pairs)

    def where(self, rows: Bool[np.ndarray, " item"]) -> "HumanJudgements":
        """Those of the judgements for which `rows` holds."""
        places = np.flatnonzero(rows)
        columns: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        taken = {
            name: column[places] if isinstance(column, np.ndarray) else tuple(column[place] for place in places)
            for name, column in columns.items()
            if isinstance(column, tuple | np.ndarray)
        }
        return HumanJudgements(**(columns | taken))

    def of(self, *splits: Split) -> "HumanJudgements":
        """The judgements of some splits."""
        return self.where(np.isin(np.asarray(self.splits), splits))


def read_human(
    aspect: Aspect, *, seed: int = 0, data_dir: Path | None = None, exclude_questions: Iterable[str] = ()
) -> HumanJudgements:
    """The human judgements of `aspect`, every answer once, without those that were judged both ways.

    Args:
        aspect: Which file.
        seed: The seed of the split.
        data_dir: A folder of real data; None downloads what is missing.
        exclude_questions: Questions on which a judge is to be used, and of which it must not learn the answers. The judgements of all
            questions that share a group with one of them are dropped.

    Raises:
        DataError: the file cannot be had, a line cannot be read, or nothing is left.
    """
    pairs, labels = _parsed(aspect, read_text(FILES[aspect], data_dir=data_dir))
    found = distinct([f"{pair.question}\n{pair.answer}" for pair in pairs], labels)
    kept = [pairs[row] for row in found.kept]
    kept_labels = [labels[row] for row in found.kept]
    everything = HumanJudgements(
        aspect=aspect,
        pairs=tuple(kept),
        labels=np.array(kept_labels),
        **_read_beside(kept, read_references(seed=seed, data_dir=data_dir)),
        duplicates=found.duplicates,
        contradictions=found.contradictions,
    )
    return _without(everything, tuple(exclude_questions))


def _parsed(aspect: Aspect, text: str) -> tuple[list[Answered], list[int]]:
    """The question, the answer and the verdict of every line."""
    # The question ends at the first "A:"; an answer may go on with questions and answers of its own.
    form = re.compile(rf"Q: (.*?)\nA:(?: (.*?))?\n{SUFFIX[aspect]}", re.DOTALL)
    pairs, labels = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(line)
            found, verdict = form.fullmatch(row["prompt"]), row["completion"]
        except (ValueError, TypeError, KeyError):
            found, verdict = None, ""
        if not found or verdict not in (YES, NO):
            raise DataError(
                f"{FILES[aspect].local}: line {number} is no judgement of {aspect}; expected an object with a prompt "
                f"'Q: ...\\nA: ...\\n{SUFFIX[aspect]}' and a completion '{YES}' or '{NO}'"
            )
        pairs.append(Answered(found[1], found[2] or ""))
        labels.append(int(verdict == YES))
    return pairs, labels


def _read_beside(pairs: Sequence[Answered], references: References) -> dict[str, Any]:
    """The columns that follow from the list of questions and their reference answers."""
    group_of = _groups((*(pair.question for pair in pairs), *(question.text for question in references.values())))
    groups = tuple(group_of[pair.question] for pair in pairs)
    listed = [references.get(normalise(pair.question)) for pair in pairs]
    verbatim = {key: {same_answer(text) for text in (*one.correct, *one.incorrect)} for key, one in references.items()}
    return {
        "groups": groups,
        "splits": _splits(groups, group_of, references),
        "categories": tuple(one.category if one else UNKNOWN_CATEGORY for one in listed),
        "kinds": tuple(_kind(pair.answer, verbatim.get(normalise(pair.question), set())) for pair in pairs),
    }


def _groups(questions: Iterable[str]) -> Mapping[str, str]:
    """The group of each question."""
    different = list(dict.fromkeys(questions))
    return dict(zip(different, connected([runs(question) for question in different]), strict=True))


def _splits(groups: Sequence[str], group_of: Mapping[str, str], references: References) -> tuple[Split, ...]:
    """The split of each of `groups`: that of the listed questions in it; train where there is none."""
    found: dict[str, Split] = {}
    for question in references.values():
        group = group_of[question.text]
        # A question that is not on the list may join groups that stand apart there; none of it may be held out then.
        found[group] = question.split if found.get(group, question.split) == question.split else "train"
    return tuple(found.get(group, "train") for group in groups)


def _kind(answer: str, listed: AbstractSet[str]) -> Kind:
    said = same_answer(answer)
    if said in listed:
        return "reference"
    return "no_comment" if said == same_answer(NO_COMMENT) else "model"


def _without(human: HumanJudgements, questions: Sequence[str]) -> HumanJudgements:
    """`human` without the judgements of questions that share a group with one of `questions`."""
    if not questions:
        return human
    group_of = _groups((*(pair.question for pair in human.pairs), *questions))
    banned = {group_of[question] for question in questions}
    kept = np.array([group_of[pair.question] not in banned for pair in human.pairs], dtype=bool)
    if not kept.any():
        raise DataError(
            f"no human judgement of {human.aspect} is left: every question is excluded; exclude only the questions that the judge is to "
            "be used on"
        )
    return replace(human.where(kept), excluded=int((~kept).sum()))

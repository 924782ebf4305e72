"""Builds a privacy set as the paper did: a model writes statements after Solove's taxonomy, and judges each of them five times.

For every subcategory, and for both labels, the model is shown examples and asked for statements. Each new statement is judged several times
and kept when every judgement is readable and all agree with the label that was asked for. Nothing is guessed: an answer that cannot be
read is counted as such. Every answer goes into a journal as it comes, under the hash of its request; a build that was killed starts
again and asks only for what is missing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from trustrace.core.errors import DataError
from trustrace.core.progress import Progress, silent
from trustrace.core.statements import Source, Statements
from trustrace.datasets.confaide import MEANING
from trustrace.datasets.files import FORMATS, write_statements
from trustrace.datasets.grouping import connected, normalise, runs
from trustrace.datasets.journal import Entry, appending, read_journal
from trustrace.datasets.privacy_prompts import (
    LABEL_OF,
    PrivacyBuild,
    Request,
    Verdict,
    generation_requests,
    judgement_requests,
    read_statements_in,
    read_verdict,
)
from trustrace.datasets.solove import TAXONOMY
from trustrace.datasets.splits import assign_splits

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English; what was really spent is counted by the server and stands in the journal."""

TYPICAL_STATEMENT = (
    "A hospital sells the e-mail addresses of its patients to a maker of diet pills without asking them."
)
"""Stands for a statement that is not yet written when the cost of judging it is estimated."""


@runtime_checkable
class Answer(Protocol):
    """What a model answered, and what it cost."""

    @property
    def text(self) -> str:
        """The answer."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens sent, as the server counts them; 0 where it does not say."""

    @property
    def completion_tokens(self) -> int:
        """Tokens received, likewise."""


AnswerAll = Callable[[Sequence[Request]], Iterator[tuple[int, Answer]]]
"""Answers requests in whatever order they are done, each with its place in the sequence."""


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What a build will ask for, before it does.

    Attributes:
        generations: Requests for statements that are still to be made.
        judgements: Requests for judgements that are still to be made, at most: repeated statements are not judged.
        finished: Answers that the journal already holds.
        prompt_tokens: Estimated tokens to send.
        completion_tokens: Estimated tokens to receive.
    """

    generations: int
    judgements: int
    finished: int
    prompt_tokens: int
    completion_tokens: int

    def cost(self, *, per_million_prompt_tokens: float, per_million_completion_tokens: float) -> float:
        """The estimated price, in the currency of the two prices."""
        return (
            self.prompt_tokens * per_million_prompt_tokens + self.completion_tokens * per_million_completion_tokens
        ) / 1e6


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What became of everything that was asked for.

    Attributes:
        statements: The statements that were kept.
        generations: Answers to requests for statements.
        unread_generations: Those in which no statement could be read.
        written: Statements read in them.
        repeated: Statements that repeat an example or an earlier statement; they are not judged.
        unread_judgements: Judgements that were neither verdict.
        unread: Statements dropped because a judgement could not be read.
        divided: Statements dropped because their judgements differ.
        contrary: Statements dropped because all judges say the opposite of what was asked for.
        prompt_tokens: Tokens sent, as the server counts them.
        completion_tokens: Tokens received, likewise.
    """

    statements: Statements
    generations: int
    unread_generations: int
    written: int
    repeated: int
    unread_judgements: int
    unread: int
    divided: int
    contrary: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A statement that waits for its verdict, and the request that it came from."""

    text: str
    label: int
    source: str


def plan(config: PrivacyBuild, *, journal: Path) -> BuildPlan:
    """What :func:`build` would still ask for; asks for nothing.

    Raises:
        DataError: the journal cannot be read.
    """
    entries = read_journal(journal)
    generations = [request for request, _, _ in generation_requests(config)]
    to_write = [request for request in generations if request.key not in entries]
    known = [request for draft in _drafts(config, entries).drafts for request in judgement_requests(config, draft.text)]
    to_judge = [request for request in known if request.key not in entries]
    unknown = judgement_requests(config, TYPICAL_STATEMENT) * (len(to_write) * config.statements_per_generation)
    answer_tokens = config.statements_per_generation * _tokens(TYPICAL_STATEMENT)
    return BuildPlan(
        generations=len(to_write),
        judgements=len(to_judge) + len(unknown),
        finished=len(generations) - len(to_write) + len(known) - len(to_judge),
        prompt_tokens=sum(_tokens(request.prompt) for request in (*to_write, *to_judge, *unknown)),
        completion_tokens=len(to_write) * answer_tokens + (len(to_judge) + len(unknown)) * 2,
    )


def build(
    config: PrivacyBuild, *, answer_all: AnswerAll, journal: Path, out: Path, progress: Progress = silent
) -> BuildReport:
    """Ask for everything that the journal lacks, and write the statements that every judge agrees on.

    Args:
        config: What to ask for.
        answer_all: Answers many requests; raises when the model cannot be reached.
        journal: Where answers are kept, one a line; the same file resumes a build.
        out: The file of statements, in a format of :func:`~trustrace.datasets.files.write_statements`.
        progress: Told of each answer.

    Raises:
        DataError: the journal cannot be read or written, `out` names no known format, or too few statements were kept to be of use.
    """
    _require_known_format(out)
    generations = [request for request, _, _ in generation_requests(config)]
    _ask(generations, answer_all=answer_all, journal=journal, progress=progress)
    drafts = _drafts(config, read_journal(journal)).drafts
    judgements = [request for draft in drafts for request in judgement_requests(config, draft.text)]
    _ask(judgements, answer_all=answer_all, journal=journal, progress=progress)
    report = _settle(config, read_journal(journal))
    write_statements(report.statements, out)
    return report


def _require_known_format(out: Path) -> None:
    """Before anything is paid for, not after."""
    if out.suffix.lower() not in FORMATS:
        raise DataError(f"{out}: unknown format {out.suffix or '(no suffix)'!r}; name the file {', '.join(FORMATS)}")


def _ask(requests: Sequence[Request], *, answer_all: AnswerAll, journal: Path, progress: Progress) -> None:
    """Have every request answered that the journal does not answer yet, and write each answer down before the next is waited for."""
    entries = read_journal(journal)
    missing = [request for request in requests if request.key not in entries]
    done = len(requests) - len(missing)
    with appending(journal) as append:
        for place, answer in answer_all(missing):
            request = missing[place]
            append(
                Entry(
                    key=request.key,
                    kind=request.kind,
                    text=answer.text,
                    prompt_tokens=answer.prompt_tokens,
                    completion_tokens=answer.completion_tokens,
                )
            )
            done += 1
            progress(done, len(requests), f"{request.kind}s")


@dataclass(frozen=True, kw_only=True)
class _Written:
    drafts: tuple[_Draft, ...]
    generations: int
    unread_generations: int
    written: int


def _drafts(config: PrivacyBuild, entries: Mapping[str, Entry]) -> _Written:
    """Every different statement in the answers so far, in the order of the requests, so that the order of arrival changes nothing."""
    seen = {
        normalise(example) for subcategory in TAXONOMY for example in (*subcategory.violations, *subcategory.acceptable)
    }
    drafts, generations, unread, written = [], 0, 0, 0
    for request, subcategory, label in generation_requests(config):
        if request.key not in entries:
            continue
        statements = read_statements_in(entries[request.key].text)
        generations, unread, written = generations + 1, unread + (not statements), written + len(statements)
        for statement in statements:
            if (key := normalise(statement)) not in seen:
                seen.add(key)
                drafts.append(_Draft(text=statement, label=label, source=f"{subcategory.name} {request.repetition}"))
    return _Written(drafts=tuple(drafts), generations=generations, unread_generations=unread, written=written)


def _settle(config: PrivacyBuild, entries: Mapping[str, Entry]) -> BuildReport:
    """Keep the drafts on which every judge agrees with what was asked for; count all others by what became of them."""
    written = _drafts(config, entries)
    kept: list[_Draft] = []
    fates: Counter[str] = Counter()
    unread_judgements = 0
    for draft in written.drafts:
        verdicts = [read_verdict(entries[request.key].text) for request in judgement_requests(config, draft.text)]
        unread_judgements += verdicts.count("unparsed")
        fate = _fate(verdicts, label=draft.label)
        fates[fate] += 1
        if fate == "kept":
            kept.append(draft)
    asked = {request.key for request, _, _ in generation_requests(config)}
    asked |= {request.key for draft in written.drafts for request in judgement_requests(config, draft.text)}
    spent = [entries[key] for key in asked]
    return BuildReport(
        statements=_statements(config, kept, fates),
        generations=written.generations,
        unread_generations=written.unread_generations,
        written=written.written,
        repeated=written.written - len(written.drafts),
        unread_judgements=unread_judgements,
        unread=fates["unread"],
        divided=fates["divided"],
        contrary=fates["contrary"],
        prompt_tokens=sum(entry.prompt_tokens for entry in spent),
        completion_tokens=sum(entry.completion_tokens for entry in spent),
    )


def _fate(verdicts: Sequence[Verdict], *, label: int) -> Literal["kept", "unread", "divided", "contrary"]:
    if "unparsed" in verdicts:
        return "unread"
    if len(set(verdicts)) > 1:
        return "divided"
    return "kept" if LABEL_OF[verdicts[0]] == label else "contrary"


def _statements(config: PrivacyBuild, kept: Sequence[_Draft], fates: Mapping[str, int]) -> Statements:
    """The kept drafts as a dataset; what one request wrote, and near-copies of it, share a group."""
    labels = tuple(draft.label for draft in kept)
    groups = connected([(draft.source, *runs(draft.text)) for draft in kept])
    if len(set(labels)) < 2 or len(set(groups)) < 3:
        raise DataError(
            f"{len(kept)} statements in {len(set(groups))} groups were kept, {labels.count(1)} of them violations, and dropped "
            f"{fates['unread']} with an unreadable judgement, {fates['divided']} with divided judgements, {fates['contrary']} judged the "
            "opposite of what was asked for. That is too few for a dataset: ask for more generations, or ask another model"
        )
    return Statements(
        name="privacy/generated",
        dimension="privacy",
        texts=tuple(draft.text for draft in kept),
        labels=labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=config.seed),
        meaning=MEANING,
        source=Source(
            title=f"Statements after Solove's taxonomy, written and judged by {config.model}",
            licence="as the terms of the model say",
            note=f"kept where {config.judgements} judgements agree with what was asked for",
        ),
    )


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)

"""Judges by name: trained, opened and measured against people."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trustrace.core.errors import ConfigError, DataError, EndpointDownError, RunError, UnsafeFileError
from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress, silent
from trustrace.datasets.questions import in_half, published_questions, truthfulqa_questions
from trustrace.evaluation.endpoint import Endpoint
from trustrace.evaluation.judges import linear, linear_files
from trustrace.evaluation.judges.check import JudgeCheck, check, headline
from trustrace.evaluation.judges.endpoint import EndpointJudge, Mode
from trustrace.evaluation.judges.human import read_human
from trustrace.evaluation.judges.judge import Aspect, Judge
from trustrace.evaluation.judges.language_model import DEFAULT_MODELS, LanguageModelJudge
from trustrace.evaluation.judges.overlap import OverlapJudge
from trustrace.evaluation.judges.quality import FILE, TABLE, as_json, record_folder
from trustrace.evaluation.judges.references import read_references
from trustrace.runs.files import publishing, replacing
from trustrace.runs.table import as_table, write_table
from trustrace.studies.capturing import load_model
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_named

DEFAULT = "default"
"""``hf:default`` is the public judge of the aspect."""

_KINDS = "the folder of a judge of your own, hf:NAME_OR_PATH, endpoint:URL#MODEL, overlap:bleu or overlap:rouge"
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".ckpt")
_QUESTION = re.compile(r"Q: (.*?)\s+A: ", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """How a judge behind an endpoint is asked.

    Attributes:
        mode: By completions with log-probabilities, or by chat.
        journal: Where answers are kept; None is a file of the cache, one for each judge.
        max_tokens_spent: Tokens after which nothing more is sent; None is no limit.
        key_variable: The environment variable that holds the key.
        down: Endpoints that gave no answer in all tries, each with what was said of it: they are asked no more.
    """

    mode: Mode = "chat"
    journal: Path | None = None
    max_tokens_spent: int | None = None
    key_variable: str = "OPENAI_API_KEY"
    down: Mapping[str, str] = field(default_factory=dict)


def train_judge(
    aspect: Aspect,
    *,
    out: Path,
    settings: Settings,
    references: bool = True,
    exclude: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> JudgeCheck:
    """Train a judge on the human judgements, check it on what it has not learned from, and write both to the folder `out`.

    Args:
        aspect: What it is to judge.
        out: A folder that does not exist yet.
        settings: Where the data is.
        references: Whether it compares an answer with the reference answers; it can then judge TruthfulQA's own questions alone.
        exclude: Questions that it must not learn from, as for :func:`questions_of`; it learns from all others. Where there are none, it
            learns from the development half.
        seed: Of the halves and the folds.
        progress: Told of fits.

    Raises:
        RunError: `out` exists already.
        DataError: the judgements cannot be had, or every question is excluded.
        MeasurementError: too few answers are left.
    """
    if out.exists():
        raise RunError(f"{out} exists already; a judge is never overwritten: choose another folder, or remove it first")
    excluded = [question for name in exclude for question in questions_of(name, settings=settings, seed=seed)]
    everything = read_human(aspect, seed=seed, data_dir=settings.data_dir)
    left = read_human(aspect, seed=seed, data_dir=settings.data_dir, exclude_questions=excluded)
    known = read_references(seed=seed, data_dir=settings.data_dir) if references else None
    judge = linear.train(linear.training_rows(left, excluded=excluded), references=known, seed=seed, progress=progress)
    checked = check(judge, everything, seed=seed, progress=progress)
    with publishing(out) as folder:
        linear_files.save(judge, folder)
        write_table(as_table(checked.rows), folder / TABLE)
        (folder / FILE).write_text(as_json(checked.quality), encoding="utf-8")
    return checked


def questions_of(name: str, *, settings: Settings, seed: int = 0) -> tuple[str, ...]:
    """The questions that `name` stands for.

    ``published`` (the paper's 407), ``test`` or ``development`` (the halves of TruthfulQA), or a dataset, shipped or a file, whose
    statements read ``Q: ... A: ...``.

    Raises:
        DataError: its statements hold no questions.
    """
    match name:
        case "published":
            return tuple(question.text for question in published_questions(data_dir=settings.data_dir))
        case "test" | "development":
            questions = truthfulqa_questions(seed=seed, data_dir=settings.data_dir)
            return tuple(question.text for question in in_half(questions, name))
    texts = load_named(name, settings=settings, seed=seed).texts
    found = tuple(dict.fromkeys(match[1] for text in texts if (match := _QUESTION.match(text))))
    if not found:
        raise DataError(
            f"{name} holds no questions: its statements must read 'Q: ... A: ...'; or name published, test or development"
        )
    return found


def open_judge(
    text: str, *, aspect: Aspect | None = None, settings: Settings, options: EndpointOptions | None = None
) -> Judge:
    """The judge that `text` names.

    Args:
        text: A folder that :func:`train_judge` wrote; ``hf:NAME_OR_PATH``, where ``hf:default`` is the public judge of the aspect;
            ``endpoint:URL#MODEL``; ``overlap:bleu`` or ``overlap:rouge``.
        aspect: What it judges; None is what a folder says, and truth for all others.
        settings: Where data and models are.
        options: For an endpoint.

    Raises:
        ConfigError: `text` names none of these, or the judge judges another aspect.
        DataError, IntegrityError: the folder holds no judge, or a damaged one.
        UnsafeFileError: it is a pickle.
        ModelError: the model cannot be loaded.
        EndpointDownError: the options say that the endpoint gave no answer before.
    """
    kind, colon, rest = text.partition(":")
    wanted: Aspect = aspect or "truth"
    match kind if colon else "":
        case "hf":
            return _language_model(rest, wanted, settings)
        case "endpoint":
            return _endpoint(rest, wanted, options or EndpointOptions())
        case "overlap":
            return _overlap(rest, wanted, settings)
        case _:
            return _own(Path(text), aspect, settings)


def check_judge(
    text: str,
    *,
    aspect: Aspect | None,
    settings: Settings,
    options: EndpointOptions | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[JudgeCheck, Path]:
    """Measure the judge that `text` names against people, and write what was found beside it: all rows, and what scores show.

    Returns:
        The check, and the folder it was written to.

    Raises:
        TrustraceError: as for :func:`open_judge`, and what the judge itself raises.
    """
    judge = open_judge(text, aspect=aspect, settings=settings, options=options)
    human = read_human(judge.aspect, seed=seed, data_dir=settings.data_dir)
    checked = check(judge, human, limit=limit, seed=seed, progress=progress)
    folder = record_folder(judge)
    write_table(as_table(checked.rows), folder / TABLE)
    with replacing(folder / FILE) as scratch:
        scratch.write_text(as_json(checked.quality), encoding="utf-8")
    return checked, folder


def overview(checked: JudgeCheck) -> list[dict[str, Any]]:
    """Judge and floors on answers of models, a line for each quantity, the floors beside it."""
    rows = headline(checked.rows)
    methods = tuple(dict.fromkeys(row.method for row in rows))
    return [
        {"quantity": quantity, **{method: _shown(rows, quantity, method) for method in methods}, "n": n}
        for quantity, n in {row.quantity: row.n for row in rows if row.method == methods[0]}.items()
    ]


def by_category(checked: JudgeCheck) -> list[dict[str, Any]]:
    """The judge's accuracy by category of question, the best first; the majority's beside it."""
    rows = [row for row in checked.rows if "/category/" in row.dataset and row.quantity == "accuracy"]
    majority = {row.dataset: row.value for row in rows if row.method == "majority"}
    mine = sorted((row for row in rows if row.role == "measured"), key=lambda row: -row.value)
    return [
        {
            "category": row.dataset.rpartition("/category/")[2],
            "accuracy": _interval(row),
            "majority": majority.get(row.dataset),
            "n": row.n,
            "questions": row.n_groups,
        }
        for row in mine
    ]


def _shown(rows: Iterable[Measurement], quantity: str, method: str) -> str:
    found = [row for row in rows if (row.quantity, row.method) == (quantity, method)]
    return _interval(found[0]) if found else "-"


def _interval(row: Measurement) -> str:
    return f"{row.value:.3f} [{row.lower:.3f}, {row.upper:.3f}]"


def _own(path: Path, aspect: Aspect | None, settings: Settings) -> Judge:
    if path.suffix.lower() in _PICKLES and not path.is_dir():
        raise UnsafeFileError(
            f"{path} may run code when it is read; a judge of your own is a folder of JSON and safetensors"
        )
    if not path.is_dir():
        raise ConfigError(f"{path} is no judge: give {_KINDS}")
    judge = linear_files.load(path, data_dir=settings.data_dir)
    if aspect not in (None, judge.aspect):
        raise ConfigError(
            f"the judge in {path} judges {judge.aspect}, not {aspect}; train one: trustrace judge train --aspect {aspect}"
        )
    return judge


def _language_model(source: str, aspect: Aspect, settings: Settings) -> Judge:
    name = DEFAULT_MODELS[aspect] if source in ("", DEFAULT) else source
    settings.require_device(spreads=False)
    model = load_model(name, revision=None, settings=settings)
    return LanguageModelJudge(model=model, aspect=aspect, name=name, batch_tokens=settings.batch_tokens)


def _endpoint(rest: str, aspect: Aspect, options: EndpointOptions) -> Judge:
    url, hash_sign, model = rest.partition("#")
    if not hash_sign or not model:
        raise ConfigError(
            "the endpoint names no model; write endpoint:URL#MODEL, such as endpoint:http://localhost:8000/v1#judge"
        )
    endpoint = Endpoint(base_url=url, model=model, key_variable=options.key_variable)
    if endpoint.name in options.down:
        raise EndpointDownError(options.down[endpoint.name], endpoint=endpoint.name)
    unkept = EndpointJudge(
        endpoint=endpoint, aspect=aspect, mode=options.mode, max_tokens_spent=options.max_tokens_spent
    )
    journal = options.journal or record_folder(unkept) / "journal.jsonl"
    return EndpointJudge(**{**vars(unkept), "journal": journal})


def _overlap(measure: str, aspect: Aspect, settings: Settings) -> Judge:
    if aspect != "truth":
        raise ConfigError("overlap judges truth alone: reference answers do not tell what is informative")
    references = read_references(data_dir=settings.data_dir)
    match measure:
        case "bleu" | "rouge":
            return OverlapJudge(measure=measure, references=references)
        case _:
            raise ConfigError(f"overlap:{measure} is no measure of overlap; there are overlap:bleu and overlap:rouge")

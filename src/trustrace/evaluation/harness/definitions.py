"""The harness's own definitions of the benchmarks, pointed at local rows or at the data sets that they name on the hub."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.tasks import TaskManager

from trustrace.core.errors import DataError
from trustrace.datasets.general import MMLU, Benchmark, Questions, write_task_rows

_FOLDERS: Mapping[Benchmark, str] = {
    "arc_easy": "arc",
    "arc_challenge": "arc",
    "mathqa": "mathqa",
    "race": "race",
    "mmlu": "mmlu/default",
}

_PREFIX = "mmlu_"


@dataclass(frozen=True, kw_only=True, eq=False)
class Defined:
    """A benchmark that is ready to be asked.

    Attributes:
        tasks: The harness's task objects, by name; MMLU has one for each subject.
        note: Where the questions come from.
    """

    tasks: Mapping[str, Any]
    note: str


@contextmanager
def local(questions: Questions) -> Iterator[Defined]:
    """The benchmark with `questions` in place of the data set on the hub; their files exist while this is open."""
    with tempfile.TemporaryDirectory(prefix="trustrace-") as temporary:
        folder = Path(temporary)
        for task, items in _by_task(questions).items():
            rows = folder / f"{task}.jsonl"
            write_task_rows(questions.name, items, rows)
            definition = _definition(questions.name, task, rows, cache=folder / "cache")
            # JSON is YAML.
            (folder / f"{task}.yaml").write_text(json.dumps(definition), encoding="utf-8")
        tasks = _loaded(folder, list(_by_task(questions)))
        yield Defined(tasks=tasks, note=f"{questions.source.title}: {questions.source.note}")


def on_hub(name: Benchmark) -> Defined:
    """The benchmark as the harness defines it, data included.

    Raises:
        DataError: its data set cannot be had.
    """
    names = [f"{_PREFIX}{subject}" for subject in MMLU] if name == "mmlu" else [name]
    try:
        tasks = _loaded(_shipped(name), names)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name}: lm-evaluation-harness cannot load its data set from the hub ({error}); connect, or set TRUSTRACE_DATA to a folder "
            "that has it"
        ) from error
    task = next(iter(tasks.values()))
    return Defined(tasks=tasks, note=f"{task.config.dataset_path} on the hub")


def subject_of(task: str) -> str:
    """The subject that a task of MMLU is about; empty for tasks that are a benchmark of their own."""
    return task.removeprefix(_PREFIX) if task.startswith(_PREFIX) else ""


def _by_task(questions: Questions) -> dict[str, list[Any]]:
    tasks: dict[str, list[Any]] = {}
    for item in questions.items:
        tasks.setdefault(f"{_PREFIX}{item.subject}" if questions.name == "mmlu" else questions.name, []).append(item)
    return tasks


def _definition(name: Benchmark, task: str, rows: Path, *, cache: Path) -> dict[str, Any]:
    return {
        "include": str(_shipped(name) / f"{task}.yaml"),
        "task": task,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(rows)}, "cache_dir": str(cache)},
        # Only test questions are here; prompts have no examples.
        "training_split": None,
        "validation_split": None,
        "fewshot_split": None,
    }


def _loaded(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    # Without its defaults: it would read 14,683 definitions to find these.
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    tasks: dict[str, Any] = manager.load(list(names))["tasks"]
    for task in tasks.values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
    return tasks


def _shipped(name: Benchmark) -> Path:
    return Path(lm_eval.tasks.__file__).parent / _FOLDERS[name]

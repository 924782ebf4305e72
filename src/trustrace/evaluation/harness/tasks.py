"""ARC, MMLU, MathQA and RACE: prompts and metrics of lm-evaluation-harness, item by item."""

import importlib.metadata
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError, MissingExtraError
from trustrace.core.progress import Progress, silent
from trustrace.datasets import general
from trustrace.datasets.general import BENCHMARKS, Benchmark
from trustrace.datasets.grouping import normalise
from trustrace.datasets.overlap import Asked, asked_in
from trustrace.evaluation.outcomes import Graded, Outcome
from trustrace.models.language_model import LanguageModel

if TYPE_CHECKING:
    from trustrace.evaluation.harness.definitions import Defined
    from trustrace.evaluation.harness.live import Passes

_QUANTITIES = {"acc": "accuracy", "acc_norm": "accuracy_normalised"}
"""Our names for the harness's metrics; the second divides log-probabilities by the length of the choice in characters."""


@dataclass(frozen=True, kw_only=True)
class GeneralAbility:
    """A benchmark of general ability, asked without examples.

    Questions come from a folder of data where there is one (`data_dir`, else ``TRUSTRACE_DATA``), else from the harness's own data sets
    on the hub. A document is an item; documents with equal questions are a group.

    Attributes:
        name: Which benchmark.
        limit: How many documents are asked, drawn from all of them without replacement; all if not given. For MMLU this is over all
            subjects together. The documents of a smaller limit are among those of a larger one.
        seed: The seed of that draw.
        data_dir: The folder of data.
    """

    name: Benchmark
    limit: int | None = None
    seed: int = 0
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        if self.name not in BENCHMARKS:
            raise ConfigError(f"no benchmark {self.name!r}; there are: {', '.join(BENCHMARKS)}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"{self.name}: limit is {self.limit}; ask at least one document")

    @property
    def origin(self) -> dict[str, str]:
        """Which questions are asked, by their fingerprint or as the hub's, and which harness writes the prompts and grades.

        Raises:
            MissingExtraError: lm-evaluation-harness is not installed.
            DataError: local questions cannot be read.
        """
        if not self._is_local:
            return {"questions": "hub", "lm_eval": _version()}
        return {"questions": general.load(self.name, data_dir=self.data_dir).fingerprint, "lm_eval": _version()}

    def asks(self) -> tuple[Asked, ...]:
        """All items of the benchmark, those beyond the limit as well: what no model that is asked any of them may have learned.

        Raises:
            MissingExtraError: questions are the hub's, and lm-evaluation-harness is not installed.
            DataError: the questions cannot be had.
        """
        if self._is_local:
            rows = general.as_task_rows(self.name, general.load(self.name, data_dir=self.data_dir).items)
            return tuple(asked_in(self.name, row) for row in rows)
        _require_harness()
        from trustrace.evaluation.harness.undisturbed import undisturbed

        with undisturbed(), self._defined() as defined:
            return tuple(asked_in(self.name, row) for each in defined.tasks.values() for row in each.eval_docs)

    def run(
        self, model: LanguageModel, *, batch_tokens: int | None = None, progress: Progress = silent
    ) -> Sequence[Outcome]:
        """One outcome for each of the model's variants: accuracy, and for ARC and MathQA also accuracy by length.

        Raises:
            MissingExtraError: lm-evaluation-harness is not installed.
            DataError: the questions cannot be had.
        """
        _require_harness()
        from trustrace.evaluation.harness.live import evaluated
        from trustrace.evaluation.harness.undisturbed import undisturbed

        with undisturbed(), self._defined() as defined:
            documents = self._documents({task: len(each.eval_docs) for task, each in defined.tasks.items()})
            passes = evaluated(
                model,
                {task: defined.tasks[task] for task in documents},
                documents=documents,
                batch_tokens=batch_tokens,
                progress=progress,
            )
            note = self._note(model, defined, passes)
            return [_outcome(self.name, samples, note) for samples in passes.samples]

    @contextmanager
    def _defined(self) -> Iterator["Defined"]:
        from trustrace.evaluation.harness.definitions import local, on_hub

        if not self._is_local:
            yield on_hub(self.name)
            return
        with local(general.load(self.name, data_dir=self.data_dir)) as defined:
            yield defined

    @property
    def _is_local(self) -> bool:
        return self.data_dir is not None or bool(os.environ.get("TRUSTRACE_DATA"))

    def _documents(self, sizes: Mapping[str, int]) -> dict[str, list[int]]:
        """The documents of each task that are asked; a task of which none is asked is left out."""
        places = [(task, document) for task, size in sizes.items() for document in range(size)]
        order = generator(self.seed, "documents", self.name).permutation(len(places))[: self.limit]
        chosen: dict[str, list[int]] = {}
        for place in sorted(order):
            task, document = places[place]
            chosen.setdefault(task, []).append(document)
        return chosen

    def _note(self, model: LanguageModel, defined: "Defined", passes: "Passes") -> str:
        samples = [sample for task in passes.samples[0].values() for sample in task]
        cut = sum(any(passes.is_cut(*request) for request in _requests(sample)) for sample in samples)
        return (
            f"no examples; prompts and metrics of lm-evaluation-harness {_version()}; {defined.note}; {cut} of {len(samples)} documents "
            f"lost the beginning of their prompt to fit {model.max_tokens} tokens"
        )


def _require_harness() -> None:
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise _missing() from error


def _version() -> str:
    try:
        return importlib.metadata.version("lm_eval")
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing() from error


def _missing() -> MissingExtraError:
    return MissingExtraError.of("lm-eval", extra="eval", purpose="asking ARC, MMLU, MathQA or RACE")


def _outcome(name: str, tasks: Mapping[str, Sequence[Mapping[str, Any]]], note: str) -> Outcome:
    samples = [(task, sample) for task, found in tasks.items() for sample in found]
    groups = tuple(sample["doc"].get("group") or normalise(_requests(sample)[0][0]) for _, sample in samples)
    graded = tuple(
        Graded(
            quantity=quantity,
            method="log_probability",
            values=np.array([[float(sample[metric])] for _, sample in samples]),
            groups=groups,
            note=note,
        )
        for metric, quantity in _QUANTITIES.items()
        if metric in samples[0][1]
    )
    return Outcome(dataset=name, graded=graded, samples=tuple(_shown(task, sample) for task, sample in samples))


def _shown(task: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    from trustrace.evaluation.harness.definitions import subject_of

    requests = _requests(sample)
    return {
        "document": f"{task}/{sample['doc_id']}",
        **({"subject": subject_of(task)} if subject_of(task) else {}),
        "prompt": requests[0][0],
        "choices": [continuation.strip() for _, continuation in requests],
        "log_probabilities": [float(answer[0]) for answer in sample["filtered_resps"]],
        "target": sample["target"],
        **{quantity: float(sample[metric]) for metric, quantity in _QUANTITIES.items() if metric in sample},
    }


def _requests(sample: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(context, continuation) for context, continuation in sample["arguments"]]

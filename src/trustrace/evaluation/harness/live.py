"""Our model as lm-evaluation-harness sees it: its own tokenisation, our forward passes.

The harness evaluates one model at a time. A model of several variants is therefore shown to it once for each; the first pass computes the
answers of all of them, and the others look them up. Answers are kept for one evaluation and in memory only: the harness's own cache keys
them by their text, which does not say how a model was steered.
"""

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import lm_eval
import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from trustrace.core.errors import ConfigError
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.fitting import fitted, is_too_long
from trustrace.evaluation.harness.undisturbed import undisturbed
from trustrace.models.generation import Decoding, generate
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import Pair, likelihoods

_Found = TypeVar("_Found")

Scored = tuple[float, bool]
"""Ln p of a continuation, and whether it is what greedy decoding would write."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Passes:
    """What one evaluation found.

    Attributes:
        samples: By variant: the harness's record of each document, by task.
        is_cut: Whether a prompt and its continuation were longer than the model's context, so that the prompt's beginning was cut off.
    """

    samples: tuple[Mapping[str, Sequence[Mapping[str, Any]]], ...]
    is_cut: Callable[[str, str], bool]


def evaluated(
    model: LanguageModel,
    tasks: Mapping[str, Any],
    *,
    documents: Mapping[str, list[int]],
    batch_tokens: int | None = None,
    progress: Progress = silent,
) -> Passes:
    """Let the harness evaluate every variant of `model`.

    Args:
        model: The model, changed or not.
        tasks: The harness's task objects, by name.
        documents: Which documents of each task are asked, in ascending order, at least one of each.
        batch_tokens: Tokens that are held at once.
        progress: Told of requests as they are answered.

    Raises:
        DataError: a continuation alone is longer than the model's context.
    """
    first = LiveModel(model, batch_tokens=batch_tokens, progress=progress)
    samples = []
    with undisturbed():
        for variant in range(model.variants):
            found = lm_eval.evaluate(
                lm=first.of(variant),
                task_dict={"tasks": dict(tasks), "groups": {}},
                samples=dict(documents),
                bootstrap_iters=0,
                log_samples=True,
            )
            samples.append(found["samples"])
    return Passes(samples=tuple(samples), is_cut=first.is_cut)


class LiveModel(HFLM):  # type: ignore[misc]
    """One variant of a language model in memory. Views made by :meth:`of` share their answers."""

    def __init__(
        self, model: LanguageModel, *, batch_tokens: int | None = None, progress: Progress = silent, variant: int = 0
    ) -> None:
        with undisturbed():
            super().__init__(
                pretrained=model.module,
                # The harness gives a tokenizer without a padding token one.
                tokenizer=copy.deepcopy(model.tokenizer),
                backend="causal",
                max_length=model.max_tokens,
                batch_size=64,
            )
        self.live = model
        self.variant = variant
        self.batch_tokens = batch_tokens
        self.report = progress
        self._encoded: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        self._scored: dict[bytes, tuple[tuple[Scored, ...], ...]] = {}
        self._written: dict[tuple[tuple[str, ...], Decoding], tuple[tuple[str, ...], ...]] = {}

    def of(self, variant: int) -> "LiveModel":
        """The same model and the same memory, seen as another of its variants."""
        view = copy.copy(self)
        view.variant = variant
        return view

    def is_cut(self, context: str, continuation: str) -> bool:
        """Whether the two were longer than the model's context."""
        return is_too_long(self.live, *self._encode_pair(context, continuation))

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[Scored]:
        """As the harness does it, without its bar."""
        return list(super().loglikelihood(requests, disable_tqdm=True))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """As the harness does it, without its bar."""
        return list(super().loglikelihood_rolling(requests, disable_tqdm=True))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Continuations of prompts, those with the same settings together.

        Raises:
            ConfigError: a request asks for a way of decoding that is not offered here.
            DataError: a prompt leaves no room for its answer.
        """
        places: dict[Decoding, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(self._decoding(request.args[1]), []).append(place)
        texts = [""] * len(requests)
        for decoding, chosen in places.items():
            prompts = tuple(requests[place].args[0] for place in chosen)
            for place, text in zip(chosen, self._responses(prompts, decoding), strict=True):
                texts[place] = text
        return texts

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        return _remembered(
            self._encoded, (context, continuation), lambda: super(LiveModel, self)._encode_pair(context, continuation)
        )

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = True,
        override_bs: int | None = None,
    ) -> list[Scored]:
        pairs = [fitted(self.live, prompt, continuation) for _, prompt, continuation in requests]
        return list(_remembered(self._scored, _digest(pairs), lambda: self._score(pairs))[self.variant])

    def _score(self, pairs: Sequence[Pair]) -> tuple[tuple[Scored, ...], ...]:
        found = likelihoods(self.live, pairs, batch_tokens=self.batch_tokens, progress=self.report)
        return tuple(tuple((each.total, each.is_greedy) for each in row) for row in found)

    def _responses(self, prompts: tuple[str, ...], decoding: Decoding) -> tuple[str, ...]:
        return _remembered(self._written, (prompts, decoding), lambda: self._write(prompts, decoding))[self.variant]

    def _write(self, prompts: tuple[str, ...], decoding: Decoding) -> tuple[tuple[str, ...], ...]:
        found = generate(self.live, prompts, decoding=decoding, batch_tokens=self.batch_tokens, progress=self.report)
        return tuple(tuple(response.text for response in row) for row in found)

    def _decoding(self, asked: Mapping[str, Any]) -> Decoding:
        settings = dict(normalize_gen_kwargs(dict(asked), self.max_gen_toks))
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        decoding = Decoding(
            max_new_tokens=settings.pop("max_gen_toks"),
            stops=tuple(stop for stop in handle_stop_sequences(settings.pop("until", None), eos=eos) if stop),
            temperature=float(settings.pop("temperature", 0.0)) if settings.pop("do_sample") else 0.0,
            top_p=float(settings.pop("top_p", 1.0)),
        )
        if unknown := sorted(key for key in settings if key != "temperature"):
            raise ConfigError(
                f"the task asks for {', '.join(unknown)} in generation, which is not offered here; use another task"
            )
        return decoding


def _remembered(memory: dict[Any, _Found], key: Any, find: Callable[[], _Found]) -> _Found:
    if key not in memory:
        memory[key] = find()
    return memory[key]


def _digest(pairs: Sequence[Pair]) -> bytes:
    """A key of a few bytes for a batch whose tokens may take many megabytes."""
    digest = hashlib.sha256()
    for prompt, continuation in pairs:
        digest.update(np.array([len(prompt), len(continuation), *prompt, *continuation], dtype=np.int64).tobytes())
    return digest.digest()

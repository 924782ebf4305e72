"""Versions of a model side by side, the plain one first."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.interventions.test_steering import unit
from trustrace.core.errors import AlignmentError
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.estimates import changes, estimates
from trustrace.evaluation.outcomes import Graded, Outcome
from trustrace.evaluation.world_text import WorldText
from trustrace.interventions.edits import add
from trustrace.interventions.positions import Positions
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.studies.settings import Settings
from trustrace.studies.versions import PLAIN, Conventions, Version, rows_of, run_versions, samples_of

SETTINGS = Settings(device="cpu")
READING = WorldText(limit=3, half="development")


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel.of(tiny.build("llama"), tiny.tokenizer(adds_bos=True))


def version(alpha: float, *, seed: int = 0, **changed: object) -> Version:
    edit = add("block_1", unit(seed), alpha=alpha)
    return Version(**{"vector": f"v{seed}", "site": "block_1", "alpha": alpha, "edits": (edit,), **changed})  # type: ignore[arg-type]


def outcomes_of(model: LanguageModel, versions: Sequence[Version], conventions: Conventions) -> tuple[Outcome, ...]:
    return run_versions(model, versions, READING, conventions=conventions, settings=SETTINGS, progress=silent)


@pytest.mark.parametrize("rule", ["prompt_last+generated", "all"])
def test_side_by_side_each_version_does_what_it_does_alone(model: LanguageModel, rule: str) -> None:
    conventions = Conventions(positions=Positions.parse(rule))
    versions = (PLAIN, version(2.0), version(-3.0, seed=1))
    together = outcomes_of(model, versions, conventions)
    for one, outcome in zip(versions, together, strict=True):
        (alone,) = outcomes_of(model, [one], conventions)
        np.testing.assert_allclose(outcome.graded[0].values, alone.graded[0].values, rtol=1e-4)
    losses = [outcome.graded[0].values[:, 0] for outcome in together]
    assert np.abs(losses[1] - losses[0]).max() > 0.01
    (plain,) = READING.run(model, batch_tokens=None, progress=silent)
    np.testing.assert_allclose(losses[0], plain.graded[0].values[:, 0], rtol=1e-5)


def test_the_plain_model_stands_there_once_and_all_others_are_compared_with_it(model: LanguageModel) -> None:
    versions = (PLAIN, version(2.0), version(2.0, seed=1, role="control"))
    outcomes = outcomes_of(model, versions, Conventions(seed=3))
    rows = rows_of(model, versions, outcomes, "reading/development", conventions=Conventions(seed=3))
    quantities = [(row.vector, row.quantity) for row in rows]
    names = ["perplexity", "perplexity_change", "perplexity_change_p"]
    assert quantities == [("", "perplexity"), *(("v0", name) for name in names), *(("v1", name) for name in names)]
    by_hand = [
        *estimates(outcomes[1], seed=3),
        *changes(outcomes[1], outcomes[0], seed=3),
    ]
    assert [row.value for row in rows[1:4]] == [one.value for one in by_hand]
    assert rows[2].value == pytest.approx(rows[1].value - rows[0].value)
    assert [row.role for row in rows] == ["measured"] * 4 + ["control"] * 3
    assert {row.dataset for row in rows} == {"reading/development"}
    without = rows_of(
        model, versions, outcomes, "reading/development", conventions=Conventions(seed=3), with_plain=False
    )
    assert without == rows[1:]


def test_a_row_says_where_how_strongly_and_over_which_tokens(model: LanguageModel) -> None:
    conventions = Conventions(positions=Positions.parse("window:-4:"), protocol="published")
    versions = (PLAIN, version(-1.5))
    rows = rows_of(model, versions, outcomes_of(model, versions, conventions), "d", conventions=conventions)
    assert (rows[0].site, rows[0].alpha, rows[0].position) == ("", 0.0, "")
    assert (rows[1].site, rows[1].alpha, rows[1].position) == ("block_1", -1.5, "window:-4:")
    assert {(row.protocol, row.checkpoint) for row in rows} == {("published", model.checkpoint.key)}


def test_samples_are_json_lines_that_say_which_version_answered() -> None:
    samples = ({"prompt": "Größe\u2028?", "p": 0.5}, {"prompt": "line\nbreak", "p": None})
    outcome = Outcome(dataset="d", graded=(), samples=samples)
    written = samples_of((PLAIN, version(2.0)), (outcome, outcome), "d/test")
    lines = [json.loads(line) for line in written.decode().split("\n")[:-1]]
    assert [(line["vector"], line["alpha"], line["prompt"]) for line in lines] == [
        ("", 0.0, "Größe\u2028?"),
        ("", 0.0, "line\nbreak"),
        ("v0", 2.0, "Größe\u2028?"),
        ("v0", 2.0, "line\nbreak"),
    ]
    assert {line["dataset"] for line in lines} == {"d/test"}


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """A task that breaks off."""

    name: str = "interrupted"

    def run(self, model: LanguageModel, *, batch_tokens: int | None, progress: Progress) -> Sequence[Outcome]:
        raise KeyboardInterrupt


def test_the_model_is_as_it_was_when_a_task_breaks_off(model: LanguageModel) -> None:
    tokens = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model.module(tokens).logits
    with pytest.raises(KeyboardInterrupt):
        run_versions(
            model, [version(5.0)], Interrupted(), conventions=Conventions(), settings=SETTINGS, progress=silent
        )
    with torch.no_grad():
        torch.testing.assert_close(model.module(tokens).logits, before, rtol=0, atol=0)


def test_outcomes_of_other_items_are_not_compared(model: LanguageModel) -> None:
    def outcome(*groups: str) -> Outcome:
        graded = Graded(quantity="q", method="m", values=np.ones((len(groups), 1)), groups=groups)
        return Outcome(dataset="d", graded=(graded,))

    with pytest.raises(ValueError, match="shorter"):
        rows_of(model, (PLAIN, version(1.0)), (outcome("a"),), "d", conventions=Conventions())
    with pytest.raises(AlignmentError, match="other items"):
        rows_of(model, (PLAIN, version(1.0)), (outcome("a"), outcome("b")), "d", conventions=Conventions())

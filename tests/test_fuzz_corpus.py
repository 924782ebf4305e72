"""What once made a reader fail, hang or fill the memory is read again: each file succeeds or is refused in one sentence; and new ones."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from fuzz.driving import CORPUS, Findings, Target, folder_for, is_accepted, mutated
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEPT = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
QUICK = (
    "statements_csv",
    "statements_jsonl",
    "pairs_jsonl",
    "instructions_jsonl",
    "journal",
    "weights_index",
    "weights_safetensors",
)
MUTATED = (
    *QUICK,
    "table",
    "status_plan",
    "ledger_record",
    "vectors_manifest",
    "judge_manifest",
    "activations",
    "replicates",
    "study_yaml",
)


@pytest.fixture(autouse=True)
def _as_users_meet_it(untyped: None) -> Iterator[None]:
    """Without the checks of types that only tests have; the libraries' own remarks on damaged files are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_every_folder_of_the_corpus_has_its_target() -> None:
    assert {path.parent.name for path in KEPT} <= set(TARGETS)
    assert len(KEPT) >= 50


@pytest.mark.parametrize("name", sorted({path.parent.name for path in KEPT}))
def test_what_once_failed_is_refused_or_read(name: str) -> None:
    found = Findings(name=name)
    with folder_for(TARGETS[name]) as (folder, _):
        for path in sorted((CORPUS / name).iterdir()):
            is_accepted(TARGETS[name], folder, path.read_bytes(), found)
    assert not found.traces, "\n".join(found.traces.values())


@pytest.mark.parametrize("name", MUTATED)
def test_valid_files_made_wrong_are_refused_or_read(name: str) -> None:
    target, found, rng = TARGETS[name], Findings(name=name), Random(name)
    with folder_for(target) as (folder, valid):
        for _ in range(20 if name == "study_yaml" else 60):
            is_accepted(target, folder, mutated(rng, target.mutate, rng.choice(list(valid))), found)
    assert not found.traces, "\n".join(found.traces.values())


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, tuple[Target, Path]]]:
    """A folder for each of the quick targets."""
    from contextlib import ExitStack

    with ExitStack() as folders:
        yield {name: (TARGETS[name], folders.enter_context(folder_for(TARGETS[name]))[0]) for name in QUICK}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
)
def test_any_bytes_are_refused_or_read(places: dict[str, tuple[Target, Path]], content: bytes) -> None:
    for name, (target, folder) in places.items():
        found = Findings(name=name)
        is_accepted(target, folder, content, found)
        assert not found.traces, "\n".join(found.traces.values())

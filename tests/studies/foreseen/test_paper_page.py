"""The page of the paper's studies is what its script writes, and names every study of the paper."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_paper", ROOT / "docs" / "make_paper.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up by name while it is made.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date_and_no_other_lies_beside_them(maker: ModuleType) -> None:
    made = maker.pages()
    assert {place: place.read_text("utf-8") for place in made} == made, "run: python docs/make_paper.py"
    assert set(maker.PLANS.iterdir()) == set(made) - {maker.PAGE}


def test_every_study_of_the_paper_and_its_twins_are_on_the_page_in_both_protocols(maker: ModuleType) -> None:
    entries = [entry for suite in maker.SUITES for entry in suite.entries]
    named = {file for entry in entries for file in entry.files.values()}
    # Beginners' templates, and what makes the checkpoints of the others.
    apart = {"own/pretrain.yaml", "own/trace.yaml", "own/steer.yaml"}
    folders = ("paper", "pythia", "olmo", "own")
    written = {f"{one}/{path.name}" for one in folders for path in (ROOT / "studies" / one).glob("*.yaml")}
    assert named == written - apart
    assert {len(entry.files) for entry in entries if entry.verb != "pretrain"} == {2}

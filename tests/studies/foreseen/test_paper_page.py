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


def test_the_page_is_up_to_date(maker: ModuleType) -> None:
    written = (ROOT / "docs" / "paper.md").read_text("utf-8")
    assert written == maker.page(), "run: python docs/make_paper.py"


def test_every_study_of_the_paper_is_on_the_page(maker: ModuleType) -> None:
    named = {entry.file for entry in maker.ENTRIES}
    folders = ("paper", "pythia", "olmo")
    assert named == {f"{one}/{path.name}" for one in folders for path in (ROOT / "studies" / one).glob("*.yaml")}

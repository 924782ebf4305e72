"""The desk's one table in the documentation is that of the run whose comparison lies beside it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_desk", ROOT / "docs" / "make_desk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_the_table_of_its_run(maker: ModuleType) -> None:
    written = maker.PAGE.read_text("utf-8")
    assert maker.page(written, maker.read(maker.TABLE)) == written, "run: python docs/make_desk.py"


def test_every_model_has_every_baseline(maker: ModuleType) -> None:
    lines = maker.table(maker.read(maker.TABLE)).splitlines()[2:]
    done = [line.split(" | ")[1] for line in lines]
    assert done == list(maker.DONE.values()) * len(maker.MODELS)

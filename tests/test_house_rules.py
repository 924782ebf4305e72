"""What holds for every file, whoever wrote it."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import benchmarks
import pytest

import trustrace
from trustrace.core.errors import TrustraceError

SOURCE = Path(trustrace.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "transformers", "sklearn", "scipy", "matplotlib", "plotly", "datasets", "openai", "ray")


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_says_what_it_is_and_fits_in_one_view_of_the_mind(path: Path) -> None:
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module begins with what it is"
    assert text.count("\n") <= 450, "a file beyond 450 lines holds two ideas"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_function_needs_a_scroll(path: Path) -> None:
    for function in functions(ast.parse(path.read_text("utf-8"))):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if body:
            length = (function.end_lineno or 0) - body[0].lineno + 1
            assert length <= 45, f"{function.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_source_has_no_assert_and_no_unfinished_mark(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)], (
        "our invariants are types and tests"
    )
    assert not [mark for mark in ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error") if mark in text]


def test_no_module_is_a_drawer() -> None:
    assert not [path for path in MODULES if path.stem in {"utils", "helpers", "common", "misc"}]


@pytest.mark.parametrize(
    "module",
    ["trustrace", "trustrace.cli.entry", "trustrace.cli.app", "trustrace.core.statements", "trustrace.core.config"],
)
def test_importing_what_starts_the_program_loads_nothing_heavy(module: str) -> None:
    program = f"import {module}, sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_every_benchmark_finds_what_it_measures() -> None:
    for module in pkgutil.iter_modules(benchmarks.__path__):
        importlib.import_module(f"benchmarks.{module.name}")


def test_types_and_axes_are_checked_while_tests_run() -> None:
    import numpy as np
    from jaxtyping import TypeCheckError

    from trustrace.core.intervals import percentile_interval

    with pytest.raises(TypeCheckError):
        percentile_interval(np.zeros((2, 2)))


def test_every_error_of_ours_stops_a_script_with_a_code_of_failure() -> None:
    def family(kind: type[TrustraceError]) -> list[type[TrustraceError]]:
        return [kind, *(member for child in kind.__subclasses__() for member in family(child))]

    assert all(kind.exit_code > 0 for kind in family(TrustraceError))
    assert all(kind.__doc__ for kind in family(TrustraceError))

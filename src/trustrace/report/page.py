"""The report: one self-contained page and the paper-ready figures beside it, written from a run folder alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trustrace.core.errors import MissingExtraError, RunError
from trustrace.report.contents import page_contents
from trustrace.report.dynamics_contents import dynamics_contents
from trustrace.report.dynamics_folder import DynamicsFolder, read_dynamics
from trustrace.report.figures import FigureFile, write_figures
from trustrace.report.grids import Trace
from trustrace.report.packing import squeezed
from trustrace.report.palette import DARK, LIGHT
from trustrace.report.payload import as_json, payload
from trustrace.report.pivoting import pivot
from trustrace.report.proxy_contents import proxy_contents
from trustrace.report.proxy_runs import STUDY as PROXY
from trustrace.report.proxy_runs import proxy_run
from trustrace.report.run_folder import RunFolder, read_run
from trustrace.report.steering_contents import steering_contents
from trustrace.report.steering_figures import SteeringFigures, write_steering_figures
from trustrace.report.steering_findings import Finding, findings
from trustrace.report.steering_folder import STUDY, SteeringFolder, read_steering
from trustrace.report.steering_payload import steering_payload
from trustrace.report.steering_runs import SteeringRun, steering_run
from trustrace.report.tuning_contents import tuning_contents
from trustrace.report.tuning_runs import STUDY as TUNING
from trustrace.report.tuning_runs import tuning_run

if TYPE_CHECKING:
    from jinja2 import Environment

_SCRIPTS = ("data.js", "charts.js", "planes.js", "information.js", "frame.js", "page.js")
_STEERING_SCRIPTS = ("data.js", "charts.js", "frame.js", "steering_charts.js", "steering.js")

DYNAMICS = "dynamics.html"
"""The page beside that of a trace whose checkpoints were compared."""


def write_report(run: Path, *, out: Path | None = None) -> Path:
    """Write the report of a run: ``index.html``, and ``figures/`` with every figure as PNG and PDF.

    It reads the tidy table, the study, the manifest and the audits; it chooses, sorts and pivots, and computes no new number. The page
    needs no network and sends nothing anywhere. Where the checkpoints of a trace were compared, ``dynamics.html`` is written beside it.

    Args:
        run: The run folder.
        out: The folder to write into; ``report`` inside the run folder unless given.

    Returns:
        The page.

    Raises:
        RunError: the run folder is incomplete or unreadable, or the report cannot be written.
        MissingExtraError: the extra ``report`` is not installed.
    """
    content = read_run(run)
    compared = read_dynamics(run, content)
    folder = run / "report" if out is None else out
    page = folder / "index.html"
    try:
        if compared is not None:
            _replace(folder / DYNAMICS, dynamics_text(compared, folder / "figures"))
        _replace(page, _drawn_and_written(content, run, folder / "figures", dynamics=DYNAMICS if compared else ""))
    except OSError as error:
        raise RunError(
            f"{folder} could not be written: {error.strerror or error}; free space or choose another folder"
        ) from error
    return page


def require_extra() -> None:
    """Do nothing where a report can be written here; a long run had better know before it starts.

    Raises:
        MissingExtraError: the extra ``report`` is not installed.
    """
    for package in ("jinja2", "matplotlib", "plotly"):
        if find_spec(package) is None:
            raise MissingExtraError.of(package, extra="report", purpose="writing a report")


def _drawn_and_written(content: RunFolder, run: Path, figures: Path, *, dynamics: str) -> str:
    """The page of `run`, its figures drawn into `figures`; what the study was decides which page it is. It links to `dynamics`."""
    if content.study.get("study") == STUDY:
        beside = read_steering(run)
        steered = steering_run(content, beside)
        found = findings(steered)
        return steering_text(content, steered, found, beside, drawn=write_steering_figures(steered, found, figures))
    if content.study.get("study") == PROXY:
        return _rendered("proxy.html.jinja", (), proxy_contents(content, proxy_run(content), figures), "{}")
    if content.study.get("study") == TUNING:
        return _rendered("tuning.html.jinja", (), tuning_contents(content, tuning_run(content, run), figures), "{}")
    trace = pivot(content.table)
    return page_text(content, trace, drawn=write_figures(trace, figures), dynamics=dynamics)


def page_text(run: RunFolder, trace: Trace, *, drawn: Sequence[FigureFile] = (), dynamics: str = "") -> str:
    """The page of `run` as HTML; `drawn` are the figures that it links to, `dynamics` the page that compares its checkpoints.

    Raises:
        MissingExtraError: jinja2 or plotly is not installed.
    """
    page = replace(page_contents(run, trace, drawn), dynamics=dynamics)
    return _rendered("page.html.jinja", _SCRIPTS, page, as_json(payload(trace)))


def dynamics_text(compared: DynamicsFolder, figures: Path) -> str:
    """The page that compares the checkpoints of a trace, its figures drawn into `figures`.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return _rendered("dynamics.html.jinja", (), dynamics_contents(compared, figures), "{}")


def steering_text(
    run: RunFolder,
    steered: SteeringRun,
    found: Sequence[Finding],
    beside: SteeringFolder,
    *,
    drawn: SteeringFigures | None = None,
) -> str:
    """The page of a steering run as HTML; `drawn` are the figures that it links to.

    Raises:
        MissingExtraError: jinja2 or plotly is not installed.
    """
    page = steering_contents(run, steered, found, beside, drawn or SteeringFigures())
    return _rendered("steering.html.jinja", _STEERING_SCRIPTS, page, as_json(steering_payload(steered, found)))


def _rendered(template: str, scripts: Sequence[str], page: object, content: str) -> str:
    environment = _environment()
    from markupsafe import Markup

    # Only our own files and what `as_json` made harmless are markup; everything else is escaped by the template.
    return environment.get_template(
        template
    ).render(
        page=page,
        colours=[(name, colour, asdict(DARK)[name]) for name, colour in asdict(LIGHT).items()],
        css=Markup(_asset("page.css")),  # noqa: S704
        script=Markup("\n".join(map(_asset, scripts))),  # noqa: S704
        content=Markup(content),  # noqa: S704
        plotly=Markup(_plotly() if scripts else ""),  # noqa: S704
        # Unpredictable for whoever wrote the run's texts, yet equal for equal reports.
        nonce=hashlib.sha256(content.encode() + repr(page).encode()).hexdigest()[:32],
    )


def _environment() -> "Environment":
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError:
        raise MissingExtraError.of("jinja2", extra="report", purpose="writing a report") from None
    return Environment(autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_asset))


@cache
def _plotly() -> str:
    """Plotly's own bundle, squeezed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtraError.of("plotly", extra="report", purpose="writing a report") from None
    return squeezed(get_plotlyjs().encode())


def _replace(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def _asset(name: str) -> str:
    return files("trustrace.report").joinpath("assets", name).read_text("utf-8")

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from matplotlib.colors import to_hex

from tests.report.dynamics_tables import DynamicsShape, auroc, checkpoints, dynamics_rows, write_dynamics
from tests.report.test_page import HOSTILE, Document
from trustrace.core.errors import RunError
from trustrace.measures.over_training import compare
from trustrace.report import canvas, dynamics_runs
from trustrace.report.dynamics_drawing import maps_figure
from trustrace.report.dynamics_folder import read_dynamics
from trustrace.report.dynamics_runs import dynamics_run
from trustrace.report.page import dynamics_text, write_report
from trustrace.report.palette import LIGHT
from trustrace.report.run_folder import read_run

ONE = DynamicsShape(datasets=("reliability/defined",), sites=("block_0",), n_checkpoints=3)


def _text(run):
    compared = read_dynamics(run, read_run(run))
    return dynamics_text(compared, run / "report" / "figures")


def _page(folder, shape=ONE, **parts):
    return Document(_text(write_dynamics(folder / "run", shape, **parts)))


def _table(document, caption):
    return next(" ".join(one["text"].split()) for one in document.all("table") if caption in one["text"])


@pytest.fixture(scope="module", autouse=True)
def coarse_pictures():
    """Nobody looks at these; fine ones, and those of the trace itself, take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(canvas._RC, "savefig.dpi", 30)
        patch.setattr("trustrace.report.page.write_figures", lambda trace, folder: ())
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_dynamics(tmp_path_factory.mktemp("dynamics") / "run")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def document(run):
    return Document((run / "report" / "dynamics.html").read_text("utf-8"))


def test_the_page_stands_beside_that_of_the_trace_and_each_links_to_the_other(run, document):
    index = Document((run / "report" / "index.html").read_text("utf-8"))
    assert "dynamics.html" in {link.get("href") for link in index.all("a")}
    links = {link["href"] for link in document.all("a") if not link["href"].startswith("#")}
    assert "index.html" in links
    assert {
        f"figures/dynamics_{what}_reliability_defined.{kind}"
        for what in ("transfer", "layers", "emergence", "drift", "learned", "tolerance")
        for kind in ("png", "pdf")
    } <= links
    assert "figures/dynamics_datasets.pdf" in links
    assert all((run / "report" / link).is_file() for link in links)


def test_a_trace_whose_checkpoints_were_not_compared_has_no_such_page(tmp_path):
    run = write_dynamics(tmp_path / "run", ONE)
    (run / "dynamics.parquet").unlink()
    page = write_report(run)
    assert not (page.parent / "dynamics.html").exists()
    assert "dynamics.html" not in {link.get("href") for link in Document(page.read_text("utf-8")).all("a")}


def test_the_page_is_well_formed_and_navigable_without_sight(document):
    assert document.open == []
    assert [len(document.all(tag)) for tag in ("title", "h1", "main")] == [1, 1, 1]
    levels = [int(element["tag"][1]) for element in document.elements if re.fullmatch(r"h[1-6]", element["tag"])]
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    identities = [element["id"] for element in document.elements if "id" in element]
    assert len(identities) == len(set(identities))
    for element in document.elements:
        if element.get("href", "").startswith("#"):
            assert element["href"][1:] in identities
    assert all(image["alt"] and image["src"].startswith("data:image/png;base64,") for image in document.all("img"))
    assert len(document.all("caption")) == len(document.all("table"))


def test_the_page_stands_alone_and_equal_runs_give_equal_pages(run, tmp_path):
    text = (run / "report" / "dynamics.html").read_text("utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)
    assert "default-src 'none'" in text
    first, again = (_text(write_dynamics(tmp_path / name / "run", ONE)) for name in ("first", "again"))
    assert first == again


def test_sources_and_targets_of_a_matrix_are_not_confused(run):
    compared = read_dynamics(run, read_run(run))
    site = dynamics_run(compared).datasets[0].sites[0]
    keys = [one.key for one in checkpoints(DynamicsShape())]
    assert site.transfer.names == tuple(keys)
    for i, source in enumerate(keys):
        for j, target in enumerate(keys):
            assert site.transfer.cells[source, target].value == auroc(i, j)
    assert site.transfer.idle == {keys[0], keys[1]}


def test_the_matrix_can_be_read_in_a_table_with_what_is_not_told_from_chance(document):
    table = _table(document, "block_0: AUROC of each checkpoint's probe in every other")
    assert "Fitted on \u2193, tested on \u2192010.0 k100 k1.0 M10.0 M" in table
    assert "0 reads nothing at home0.500 [0.460, 0.540] chance" in table
    assert "0.111 [0.071, 0.151] turned" in table
    assert f"{auroc(3, 4):.3f}" in table


def test_what_chance_reaches_is_known_of_every_pair_and_stands_beside_its_number(run, document):
    matrix = dynamics_run(read_dynamics(run, read_run(run))).datasets[0].sites[0].transfer
    keys = [one.key for one in checkpoints(DynamicsShape())]
    reached = {pair for pair in matrix.cells if matrix.is_reached_by_chance(pair)}
    assert (keys[4], keys[3]) in reached, "its AUROC is 0.943, and so is chance's"
    assert (keys[3], keys[4]) not in reached
    assert {(source, keys[0]) for source in keys} <= reached
    table = _table(document, "block_0: AUROC of each checkpoint's probe in every other")
    assert f"{auroc(4, 3):.3f} [0.903, 0.983]; null [0.050, 0.950], p = 0.600, q = 0.600" in table
    assert f"{auroc(3, 4):.3f} [0.894, 0.974]; null [0.400, 0.600], p = 0.005, q = 0.010" in table


def test_what_chance_reaches_is_greyed_on_the_map_and_nothing_else(run):
    matrix = dynamics_run(read_dynamics(run, read_run(run))).datasets[0].sites[0].transfer
    figure = maps_figure({"block_0": matrix}, str, axes=("probe of", "tested on"))
    veils = [
        patch for patch in figure.axes[0].patches if to_hex(patch.get_facecolor()) == LIGHT.missing and patch.get_fill()
    ]
    drawn = {(round(veil.get_y() + 0.5), round(veil.get_x() + 0.5)) for veil in veils}
    places = {name: place for place, name in enumerate(matrix.names)}
    assert drawn == {(places[a], places[b]) for a, b in matrix.cells if matrix.is_reached_by_chance((a, b))}
    older = replace(matrix, chance={})
    figure = maps_figure({"block_0": older}, str, axes=("probe of", "tested on"))
    assert len(figure.axes[0].patches) == len(matrix.idle), "a comparison without nulls greys nothing"


def test_probes_that_read_nothing_at_home_are_not_asked_about_others(document):
    """Three of five read themselves, and of their six pairs one is turned and one is lost."""
    said = (
        "3 of 5 probes read what they were fitted for. Of the 6 ordered pairs of these, the interval lies above 1/2 in 4, "
        "below 1/2 (the other way round) in 1, and holds 1/2 in 1; n = 80 in 20 groups. Each pair is judged on its own. Beyond "
        "what random directions and probes of permuted labels reach, at a false discovery rate of 5%: 4 of 6. The earliest of them, of "
        "100 k tokens (AUROC 0.922 [0.882, 0.962]), reads 10.0 M tokens with 0.211 [0.171, 0.251]; the probe of 10.0 M "
        "tokens (0.944 [0.904, 0.984]) reads 100 k tokens with 0.511 [0.471, 0.551]."
    )
    assert document.words.replace("\xa0", " ").count(said) == 4


def test_when_a_concept_emerges_is_told_with_never_and_from_the_start(document):
    words = document.words.replace("\xa0", " ")
    assert (
        "block_0: above its floor at 10.0 k tokens [5.0 k, 15.0 k]; half of the rise covered at 100 k tokens" in words
    )
    assert "block_1: above its floor from the start; half of the rise covered never; sudden step never" in words
    assert "That it never rises: q = 0.700." in words
    assert "block_1from the startnevernevernever0.700" in _table(document, "Emergence by site")


def test_drift_stands_beside_what_noise_leaves_of_it(document):
    words = document.words.replace("\xa0", " ")
    assert (
        "block_1, logistic probe: the earliest direction that is reliable, at 10.0 k tokens, has a cosine of 0.455 [0.405, 0.505] with "
        "that of 10.0 M tokens; noise alone would leave 0.650 [0.550, 0.750]; corrected for it 0.700 [0.680, 0.720]. 4 checkpoints before "
        "the last: 1 without a reliable direction, 3 with an interval of the corrected cosine below 1"
    ) in words


def test_what_is_forgotten_is_compared_with_noise(document):
    assert (
        "A statement is forgotten 0.310 [0.250, 0.370] times; in random order of its own checkpoints 0.820 [0.750, 0.890]; "
        "if strangers were right each time 0.930 [0.850, 1.010]. The difference to random order is \u22120.510 "
        "[\u22120.600, \u22120.420]: less often than noise."
    ) in document.words
    assert "always right 0.100 [0.050, 0.150], learned 0.600 [0.550, 0.650], lost 0.200" in document.words
    assert "If strangers were right at each checkpoint: always right 0.010" in document.words


def test_statements_are_counted_where_they_are_learned(document):
    assert "block_0, of 80" in _table(document, "How many statements are right from each checkpoint on")
    rows = [" ".join(row["text"].split()) for row in document.all("tr")]
    for row in ("always right88", "learned at 10.0 k tokens00", "learned at 100 k tokens4848", "never right88"):
        assert row in rows
    assert "lost: wrong in the end1616" in rows


def test_the_hardest_statements_are_listed_with_their_texts(document):
    table = _table(document, "block_0: the hardest statements")
    assert "791never right0 of 50\u22121.250a statement that nobody gets right" in table


def test_fragility_is_told_with_where_it_is_undefined(document):
    words = document.words.replace("\xa0", " ")
    assert (
        "block_0: undefined at 0 tokens, 4.500 [4.250, 4.750] at 10.0 M tokens; undefined at 1 of 5 checkpoints"
        in words
    )


def test_pairs_that_differ_are_counted_after_false_discovery_control(document):
    """Of ten pairs six span the rise; at one site one of them falls."""
    assert "All 2 sites: 12 of 20 pairs of checkpoints differ at a false discovery rate of 5%" in document.words
    assert "block_0: 6 of 10 pairs of checkpoints differ" in document.words
    assert "the later one is more accurate in 5, less in 1; n = 80 in 20 groups" in document.words


def test_datasets_are_laid_against_each_other(document):
    assert (
        "block_1: 2 of 2 probes read what they were fitted for. Of the 2 ordered pairs of these, the interval lies above 1/2 in 0, "
        "below 1/2 (the other way round) in 1, and holds 1/2 in 0, is undefined in 1." in document.words
    )
    assert "too few rows are left" in _table(document, "block_1: AUROC of each dataset's probe")


def test_every_number_of_the_tables_is_one_of_the_table_of_the_run(document):
    known = {
        f"{abs(number):.3f}"
        for row in dynamics_rows(DynamicsShape())
        for number in (row.value, row.lower, row.upper)
        if number == number
    } | {"1.250"}
    shown = {
        number
        for cell in document.all("td")
        for number in re.findall(r"(?<![\d.])\d\.\d{3}(?!\d)", re.sub("q = .*", "", cell["text"]))
    }
    assert len(shown) > 20
    assert shown <= known


@pytest.mark.parametrize(
    ("shape", "parts", "words"),
    [
        (ONE, {}, "One site was compared: there is no other that its probe could read."),
        (ONE, {"has_trajectories": False}, "What became of each statement was not kept; none is listed."),
        (replace(ONE, n_checkpoints=1), {}, "One dataset was compared: there is no other that its probe could read."),
        (replace(DynamicsShape(), n_checkpoints=1), {}, "No dataset has a course over checkpoints here"),
        (replace(ONE, n_checkpoints=1), {"failures": ["b@1: truncated"]}, "Not compared: b@1: truncated"),
        (replace(ONE, n_checkpoints=1), {"duplicates": [("a@1", "a@2")]}, "a@1 and a@2 are equal bit for bit"),
        (
            ONE,
            {"measured": [row for row in dynamics_rows(ONE) if row.quantity == "noise tolerance"]},
            "no time of emergence",
        ),
    ],
)
def test_whatever_is_missing_still_makes_a_page_that_says_so(tmp_path, monkeypatch, shape, parts, words):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, **rest: path.write_bytes(b""))
    document = _page(tmp_path, shape, **parts)
    assert document.open == []
    assert words in document.words


def test_hostile_names_statements_and_notes_are_shown_as_text(tmp_path):
    rows = [
        replace(row, site=HOSTILE, dataset=HOSTILE, note=row.note and HOSTILE, checkpoint=row.checkpoint)
        for row in dynamics_rows(ONE)
    ]
    run = write_dynamics(
        tmp_path / "run",
        replace(ONE, datasets=(HOSTILE,), sites=(HOSTILE,)),
        measured=rows,
        text=HOSTILE,
        failures=[HOSTILE],
    )
    document = Document(_text(run))
    assert document.open == []
    assert [element.get("type", "script") for element in document.all("script")] == [
        "application/json",
        "text/plain",
        "script",
    ]
    assert all(image["src"].startswith("data:image/png;base64,") for image in document.all("img"))
    assert document.words.count("<script>alert('x')</script>") > 10
    assert "49" not in document.all("h2")[0]["text"]


def test_what_was_written_in_part_is_named(tmp_path):
    run = write_dynamics(tmp_path / "run", ONE)
    path = run / "units" / "dynamics-0" / "trajectories.json"
    path.write_text(json.dumps({"sites": {"block_0": {}}}), "utf-8")
    with pytest.raises(RunError, match=r"trajectories\.json holds no trajectories"):
        write_report(run)
    (run / "dynamics.json").unlink()
    with pytest.raises(RunError, match=r"dynamics\.json: missing"):
        write_report(run)


def test_the_mark_between_a_method_and_its_source_is_the_one_that_is_written():
    assert dynamics_runs.FROM == compare.FROM

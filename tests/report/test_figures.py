from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.report.tables import Shape, as_table, rows
from trustrace.report.figures import write_figures
from trustrace.report.pivoting import pivot

SHAPE = Shape(datasets=("reliability/defined",), n_checkpoints=4, n_blocks=1)


def _drawn(folder: Path, measured):
    return write_figures(pivot(as_table(measured)), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    _drawn(folder, rows(SHAPE))
    return folder


def test_each_figure_is_there_as_png_and_pdf(folder):
    stems = {"overview", "layers_reliability_defined", "map_reliability_defined"}
    assert {path.name for path in folder.iterdir()} == {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")}
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 700
            assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_fonts_in_the_pdf_are_of_a_kind_journals_take(folder):
    content = (folder / "overview.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content


def test_equal_tables_give_equal_files(folder, tmp_path):
    _drawn(tmp_path, rows(SHAPE))
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_names_that_look_like_mathematics_paths_or_foreign_script_are_drawn_as_text(tmp_path):
    hostile = [
        replace(row, dataset="../../$\\frac{1}{", site=row.site.replace("block_0", "$x_{")) for row in rows(SHAPE)
    ]
    hostile = [replace(row, checkpoint=row.checkpoint.replace("acme", "模型")) for row in hostile]
    drawn = _drawn(tmp_path / "figures", hostile)
    assert {file.stem for file in drawn} == {"overview", "layers_frac_1", "map_frac_1"}
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_protocols_get_files_of_their_own_and_the_name_says_which(tmp_path):
    published = [replace(row, protocol="published") for row in rows(SHAPE) if row.quantity != "selection_log_loss"]
    drawn = _drawn(tmp_path, [*rows(SHAPE), *published])
    assert {file.stem for file in drawn if file.stem.startswith("overview")} == {
        "overview_rigorous",
        "overview_published",
    }
    assert all("published protocol" in file.caption for file in drawn if "published" in file.stem)


def test_many_sites_are_thinned_to_what_a_page_can_show(tmp_path):
    drawn = _drawn(tmp_path, rows(replace(SHAPE, n_blocks=20, n_checkpoints=2)))
    assert len(drawn) == 3


def test_a_table_without_models_has_no_figure(tmp_path):
    assert _drawn(tmp_path, [row for row in rows(SHAPE) if not row.checkpoint]) == ()

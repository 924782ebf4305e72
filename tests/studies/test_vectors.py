import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from trustrace.cli.vectors import KindName, UnitName, app
from trustrace.core.errors import ConfigError, DataError, TrustraceError
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.models import tiny
from trustrace.models.fingerprints import tokenizer_fingerprint
from trustrace.models.language_model import LanguageModel
from trustrace.steering.files import load
from trustrace.steering.fit import require_fit
from trustrace.steering.vectors import KINDS, UNITS
from trustrace.studies.settings import Settings
from trustrace.studies.vectors import Recipe, chosen_checkpoints, load_contrast, residual_norms, vectors_of

SETTINGS = Settings(device="cpu")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four checkpoints of a tiny model, a dataset whose labels its last word gives away, and alignment pairs."""
    folder = tmp_path_factory.mktemp("series")
    tiny.save_series(folder, "llama", steps=[1, 2, 3, 4])
    words = random.Random(0)
    lines = [
        f"{words.choice('abcdefgh')}{row} is a {'cat' if row % 2 else 'dog'},{row % 2},g{row // 2}" for row in range(60)
    ]
    (folder / "pets.csv").write_text("\n".join(["statement,label,group", *lines]) + "\n")
    pairs = [{"prompt": f"Is {row} odd?", "chosen": f"yes {row}", "rejected": f"no {row}"} for row in range(20)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return folder


@pytest.fixture(scope="module")
def built(series: Path) -> Path:
    """Vectors of all checkpoints at two sites, as a user makes them."""
    out = series / "vectors"
    source = series / "checkpoints"
    sites = ["--site", "block_1", "--site", "block_2"]
    said = run(
        "build", source, "--dataset", series / "pets.csv", "--select", "all", *sites, "--draws", 20, "--out", out
    )
    assert "24 vectors of pets from 4 checkpoints" in said
    return out


def run(*arguments: object) -> str:
    """What a command says; an error of ours is raised."""
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(answer.exception, TrustraceError):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.output


def pets(series: Path) -> Statements:
    return load_contrast(dataset=str(series / "pets.csv"), pairs=None, settings=SETTINGS, seed=0)


def test_the_command_line_knows_every_kind_and_unit() -> None:
    assert tuple(kind.value for kind in KindName) == KINDS
    assert tuple(unit.value for unit in UnitName) == UNITS


def test_a_vector_built_on_the_command_line_is_the_difference_of_the_models_own_hidden_states(
    series: Path, built: Path
) -> None:
    statements = pets(series)
    [vector] = [one for one in load(built) if one.key.endswith("@step_0000002:block_1") and one.kind == "mass_mean"]
    assert vector.checkpoint.tokens_seen == 2000
    assert vector.checkpoint.commit
    assert vector.position == "last"
    model = tiny.build("llama", seed=2)
    tokenizer = tiny.tokenizer(adds_bos=True)
    rows = {0: [], 1: []}  # type: ignore[var-annotated]
    for text, label, split in zip(statements.texts, statements.labels, statements.splits, strict=True):
        if split != "test":
            with torch.no_grad():
                states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
            rows[label].append(states[2][0, -1].double())
    difference = torch.stack(rows[1]).mean(0) - torch.stack(rows[0]).mean(0)
    torch.testing.assert_close(vector.scaled("distance").double(), difference, rtol=1e-3, atol=1e-4)


def test_a_vector_fits_its_model_and_no_scratch_is_left(series: Path, built: Path) -> None:
    model = LanguageModel.of(tiny.build("llama"), tiny.tokenizer(adds_bos=True))
    for vector in load(built):
        require_fit(
            vector,
            model_type=model.module.config.model_type,
            d_model=model.d_model,
            n_blocks=model.n_blocks,
            tokenizer=tokenizer_fingerprint(model.tokenizer),
        )
    assert not list(built.glob(".scratch*"))


def test_vectors_are_shown_with_their_scales(built: Path) -> None:
    said = run("show", built)
    assert "24 vectors" in said
    assert "shuffled_label" in said
    one = next(built.glob("mass_mean*step_0000001*.safetensors"))
    assert "vocabulary" in run("show", one)


def test_directions_are_compared_over_checkpoints_and_written_as_a_table(built: Path, tmp_path: Path) -> None:
    said = run("compare", built, "--out", tmp_path / "cosines.parquet")
    assert "since when directions are" in said
    rows = pq.read_table(tmp_path / "cosines.parquet").to_pylist()
    over_time = [
        row
        for row in rows
        if row["quantity"] == "direction_cosine" and row["method"] == "mass_mean" and row["site"] == "block_1"
    ]
    assert {row["role"] for row in rows} >= {"measured", "null", "control"}
    assert all(row["lower"] <= row["value"] <= row["upper"] for row in over_time if row["role"] == "measured")
    assert len([row for row in rows if row["quantity"] == "direction_settled"]) == 2


def test_pairs_make_a_universal_vector(series: Path, tmp_path: Path) -> None:
    run(
        "build",
        series / "checkpoints",
        "--pairs",
        series / "pairs.jsonl",
        "--kind",
        "contrastive_pc",
        "--out",
        tmp_path,
    )
    vectors = load(tmp_path)
    assert {vector.checkpoint.revision for vector in vectors} == {"step_0000004"}
    assert {(vector.kind, vector.dataset) for vector in vectors} == {("contrastive_pc", "pairs")}
    assert [vector.site for vector in vectors] == ["block_0", "block_1", "block_2"]


@pytest.mark.parametrize(("form", "name"), [("gguf", "v.gguf"), ("lm-eval", "v.pt"), ("numpy", "v.npz")])
def test_vectors_are_exported_together(built: Path, tmp_path: Path, form: str, name: str) -> None:
    files = sorted(built.glob("mass_mean*step_0000004*.safetensors"))
    said = run("export", *files, "--format", form, "--alpha", 2, "--unit", "projection_std", "--out", tmp_path / name)
    assert "2 x projection_std of mass_mean:pets" in said
    if form == "numpy":
        with np.load(tmp_path / name) as arrays:
            expected = 2 * load(files[0])[0].scaled("projection_std").numpy()
            np.testing.assert_allclose(arrays["block_1"], expected, rtol=1e-6)
    if form == "lm-eval":
        assert set(torch.load(tmp_path / name, weights_only=True)) == {"layers.1", "layers.2"}


def test_a_model_may_be_asked_for_the_names_of_its_modules(series: Path, built: Path, tmp_path: Path) -> None:
    file = next(built.glob("mass_mean*step_0000004*block_2*.safetensors"))
    model = series / "checkpoints" / "step_0000004"
    run("export", file, "--format", "lm-eval", "--model", model, "--out", tmp_path / "v.pt")
    assert set(torch.load(tmp_path / "v.pt", weights_only=True)) == {"layers.2"}


def test_mistakes_on_the_command_line_are_named(series: Path, built: Path, tmp_path: Path) -> None:
    source, dataset = series / "checkpoints", ["--dataset", series / "pets.csv"]
    with pytest.raises(ConfigError, match="name one contrast"):
        run("build", source, "--out", tmp_path)
    with pytest.raises(ConfigError, match="not both"):
        run("build", source, *dataset, "--revision", "step_0000001", "--select", "all", "--out", tmp_path)
    with pytest.raises(ConfigError, match="no checkpoint 'step_9'"):
        run("build", source, *dataset, "--revision", "step_9", "--out", tmp_path)
    with pytest.raises(ConfigError, match="block_7"):
        run("build", source, *dataset, "--site", "block_7", "--out", tmp_path)
    with pytest.raises(ConfigError, match="block_7"):
        run("build", source, *dataset, "--site", "block_7", "--out", tmp_path / "new" / "vectors")
    with pytest.raises(DataError, match="one vector a site"):
        run("export", built, "--format", "numpy", "--out", tmp_path / "v.npz")
    with pytest.raises(ConfigError, match="one vector"):
        run("compare", next(built.glob("*.safetensors")))
    assert not list(tmp_path.iterdir())


def test_checkpoints_are_selected_as_everywhere(series: Path) -> None:
    source = str(series / "checkpoints")
    assert [one.step for one in chosen_checkpoints(source, revision=None, selection="every:2")] == [2, 4]
    assert [one.step for one in chosen_checkpoints(source, revision="step_0000001", selection=None)] == [1]


def test_the_residual_norm_of_a_target_is_the_median_over_texts() -> None:
    model = LanguageModel.of(tiny.build("gpt2"), tiny.tokenizer())
    texts = ["a cat", "the dogs of war", "no", "whatever else there is", "x"]
    norms = residual_norms(model, texts, sites=["block_0", "final_norm"], settings=SETTINGS)
    lengths = []
    for text in texts:
        with torch.no_grad():
            states = model.module(**model.tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        lengths.append((float(states[1][0, -1].norm()), float(states[-1][0, -1].norm())))
    assert norms["block_0"] == pytest.approx(np.median([one for one, _ in lengths]), rel=1e-4)
    assert norms["final_norm"] == pytest.approx(np.median([other for _, other in lengths]), rel=1e-4)


def test_the_real_llama_has_vectors_of_every_kind(data_dir: Path) -> None:
    from trustrace.studies.capturing import load_model

    model = load_model(str(data_dir / "models/stories260K"), revision=None, settings=SETTINGS)
    names, objects = ("Lily", "Tom", "Max", "Sue", "Ben", "Mia"), ("ball", "cat", "box", "hat", "tree", "boat")
    lines = [f"{name} saw a {thing}. She was very" for name in names for thing in objects]
    statements = Statements(
        name="moods",
        dimension="custom",
        texts=tuple(f"{line} {mood}." for line in lines for mood in ("happy", "sad")),
        labels=(1, 0) * len(lines),
        groups=tuple(line for line in lines for _ in range(2)),
        splits=("train",) * (2 * len(lines)),
        meaning=LabelMeaning(one="happy", zero="sad", desired=1),
        source=Source(title="made up", licence="CC0-1.0"),
    )
    recipe = Recipe(sites=("block_2",), kinds=KINDS, draws=10, position="mean")
    vectors = {one.kind: one for one in vectors_of(model, statements, recipe=recipe, settings=SETTINGS)}
    assert set(vectors) == set(KINDS)
    assert vectors["mass_mean"].reliability > 0.8
    assert vectors["shuffled_label"].scales.distance < vectors["mass_mean"].scales.distance / 2
    assert float(vectors["mass_mean"].direction @ vectors["contrastive_pc"].direction) > 0.9

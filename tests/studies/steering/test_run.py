"""A steering study from its file to its table: who competes, what is said of whom, what is done again and what is not."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_httpserver import HTTPServer

from tests.studies.small_studies import READING, SETTINGS, pets, rows_in, series, steered, study, values
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import (
    ConfigError,
    DataError,
    MissingExtraError,
    ModelError,
    RunError,
    TrustraceError,
    UnsafeFileError,
)
from trustrace.core.measurements import Protocol
from trustrace.datasets.grouping import normalise
from trustrace.evaluation.perplexity import windows
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.steering import files
from trustrace.studies.abilities import TaskConfig, open_task
from trustrace.studies.apart import asked_by
from trustrace.studies.settings import Settings
from trustrace.studies.status import read_status
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.steering.plan import SteerPlan, plan_steer
from trustrace.studies.steering.run import run_steer

Row = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return series(tmp_path_factory.mktemp("steer"))


def rich(folder: Path) -> SteerConfig:
    """A study with everything in it."""
    prose = {"name": "text", "path": str(folder / "prose.txt")}
    contrast = values(folder)["contrasts"][0] | {"instruction": "Read well. "}
    return study(folder, contrasts=[contrast], general=[prose], kinds=["mass_mean", "shuffled_label"])


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    run_steer(rich(folder), out=folder / "run", settings=SETTINGS)
    return folder / "run"


def stamps(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in run.glob("units/*/*")}


def where(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("checkpoint", "dataset", "quantity", "method", "vector", "site", "alpha"))


def of(rows: list[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def test_every_number_is_there_once_the_plain_model_s_among_them(run: Path) -> None:
    rows = rows_in(run)
    repeated = [place for place, count in Counter(map(where, rows)).items() if count > 1]
    assert not repeated
    plain = of(rows, vector="", quantity="perplexity")
    assert {row["dataset"] for row in plain} == {"world_text/development", "world_text/test", "text:prose.txt/test"}
    assert not [row for row in plain if row["site"] or row["alpha"] or row["position"]]


def test_each_source_kind_and_draw_competes_over_all_sites_and_strengths_and_sends_one(run: Path) -> None:
    rows = rows_in(run)
    tried = of(rows, dataset="world_text/development", quantity="perplexity")
    families = {row["vector"] for row in tried if row["vector"]}
    kinds = ("mass_mean", "shuffled_label")
    assert families == {f"{kind}:pets@series@step_000000{step}" for kind in kinds for step in range(3)} | {
        "random_0:pets"
    }
    for family in families:
        mine = of(tried, vector=family)
        assert sorted((row["site"], row["alpha"]) for row in mine) == [
            (site, alpha) for site in ("block_0", "block_1") for alpha in (-0.2, 0.2)
        ]
        best = min(mine, key=lambda row: row["value"])
        for dataset in ("world_text/test", "text:prose.txt/test"):
            (sent,) = of(rows, vector=family, dataset=dataset, quantity="perplexity")
            assert (sent["site"], sent["alpha"]) == (best["site"], best["alpha"])
    for row in rows:
        assert (row["role"] == "control") == row["vector"].startswith(("shuffled_label", "random_0"))


def test_changes_are_differences_from_the_plain_model_on_the_same_items(run: Path) -> None:
    rows = rows_in(run)
    plain = {row["dataset"]: row["value"] for row in of(rows, vector="", quantity="perplexity")}
    steered_rows = [row for row in of(rows, quantity="perplexity") if row["vector"]]
    differences = {where(row)[1:2] + where(row)[4:]: row["value"] for row in of(rows, quantity="perplexity_change")}
    assert len(differences) == len(steered_rows)
    for row in steered_rows:
        expected = row["value"] - plain[row["dataset"]]
        assert differences[where(row)[1:2] + where(row)[4:]] == pytest.approx(expected, rel=1e-3, abs=1e-2)


def test_development_and_test_halves_share_no_document(run: Path) -> None:
    seen = {"development": set(), "test": set()}
    for file in run.glob("units/plain-*/samples.jsonl"):
        for line in file.read_text("utf-8").splitlines():
            sample = json.loads(line)
            name, _, half = sample["dataset"].rpartition("/")
            if name == "world_text":
                seen[half].add(sample["text"])
    assert all(seen.values())
    assert not seen["development"] & seen["test"]


def test_an_instruction_is_prompts_that_begin_with_it(folder: Path, run: Path) -> None:
    (told,) = of(rows_in(run), vector="instruction:pets", dataset="text:prose.txt/test", quantity="perplexity")
    source = open_source(str(folder / "target"))
    model = load(source, source.checkpoints()[-1], device="cpu")
    whole = (folder / "prose.txt").read_text()
    first = whole[: whole.index(" ", len(whole) // 2) + 1]
    text = list(model.tokenizer(first, add_special_tokens=False).input_ids)
    before = list(model.tokenizer("Read well. ", add_special_tokens=False).input_ids)
    bos = model.tokenizer.bos_token_id
    width = model.max_tokens - len(before)
    losses = 0.0
    for window in windows(text, bos=bos, width=width):
        tokens = [*window.prompt, *before, *window.continuation]
        with torch.no_grad():
            log_probs = model.module(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
        for place in range(len(tokens) - window.scored, len(tokens)):
            losses -= float(log_probs[place - 1, tokens[place]])
    assert told["value"] == pytest.approx(np.exp(losses / len(text)), rel=1e-4)


def test_a_front_is_over_all_aims_that_there_are(run: Path) -> None:
    rows = rows_in(run)
    tested = of(rows, dataset="world_text/test", quantity="perplexity")
    front = of(rows, quantity="on_front")
    assert {row["vector"] for row in front} == {row["vector"] for row in tested}
    # A text gives no accuracy: it is no aim, and nobody is off the front for want of it.
    assert all("by world_text perplexity, world_text perplexity" in row["note"] for row in front)
    best = min(tested, key=lambda row: row["value"])
    assert [row["vector"] for row in front if row["value"] == 1.0] == [best["vector"]]
    (few,) = of(rows, quantity="separation_with_perplexity", method="mass_mean")
    assert np.isnan(few["value"])
    assert "3 checkpoints" in few["note"]


def test_readability_and_steering_are_correlated_over_checkpoints(tmp_path: Path) -> None:
    series(tmp_path, steps=tuple(range(6)))
    pets(tmp_path / "pets.csv", wrong=0.8, rows=90)
    config = study(tmp_path, kinds=["mass_mean", "shuffled_label"], alphas=[0.2], random_controls=0)
    rows = steered(tmp_path / "run", config)
    separations = {row["vector"]: row["value"] for row in of(rows, quantity="separation")}
    scores = of(rows, dataset="world_text/test", quantity="perplexity")
    for kind, role in (("mass_mean", "measured"), ("shuffled_label", "control")):
        (found,) = of(rows, quantity="separation_with_perplexity", method=kind)
        chosen = [row for row in scores if row["vector"].startswith(kind)]
        pairs = np.array([(separations[f"{row['vector']}:{row['site']}"], -row["value"]) for row in chosen])
        assert found["value"] == pytest.approx(np.corrcoef(pairs.T)[0, 1])
        assert (found["n"], found["role"], found["vector"]) == (6, role, f"{kind}:pets")
        assert found["lower"] <= found["value"] <= found["upper"]
        assert "no independent runs" in found["note"]
        assert "0 of 6 chosen strengths point away" in found["note"]
        assert "perplexity with its sign turned" in found["note"]


def test_a_control_says_how_far_it_is_the_real_vector(run: Path) -> None:
    rows = of(rows_in(run), quantity="cosine_with_real")
    assert len(rows) == 3 * 2
    for row in rows:
        assert (row["method"], row["role"], row["dataset"]) == ("shuffled_label", "control", "pets")
        (unit,) = run.glob(f"units/vectors-{row['checkpoint']}-pets-*")
        vectors = {vector.key: vector.direction for vector in files.load(unit / "vectors.safetensors")}
        real = vectors[row["vector"].replace("shuffled_label", "mass_mean")]
        expected = torch.nn.functional.cosine_similarity(vectors[row["vector"]], real, dim=0)
        assert row["value"] == pytest.approx(float(expected), abs=1e-6)


def test_a_second_run_does_nothing_and_gives_the_same_bytes(folder: Path, run: Path) -> None:
    before, table = stamps(run), (run / "measurements.parquet").read_bytes()
    run_steer(rich(folder), out=run, settings=Settings(device="cpu", batch_tokens=4096))
    assert stamps(run) == before
    assert (run / "measurements.parquet").read_bytes() == table
    state = read_status(run)
    assert (state.finished, state.failures) == (state.total, ())


def test_what_a_kill_left_unfinished_is_done_and_nothing_else(folder: Path, run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again, copy_function=shutil.copy2)
    for step in ("vectors", "search", "test", "plain", "instruction", "relations"):
        shutil.rmtree(sorted(again.glob(f"units/{step}-*"))[-1])
    (again / "measurements.parquet").unlink()
    (again / "units" / ".scratch-half").mkdir()
    kept = stamps(again)
    rows = steered(again, rich(folder))
    assert kept.items() <= stamps(again).items()
    assert len(stamps(again)) == len(stamps(run))
    close = {where(row): row["value"] for row in rows_in(run)}
    assert [where(row) for row in rows] == list(close)
    for row in rows:
        assert row["value"] == pytest.approx(close[where(row)], rel=1e-4, nan_ok=True)
    assert not list(again.rglob(".scratch-*"))


def test_an_interrupted_run_ends_with_the_same_bytes(folder: Path, run: Path, tmp_path: Path) -> None:
    """Interrupted twice, as by Ctrl-C, between units."""
    for stop in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            run_steer(rich(folder), out=tmp_path / "run", settings=SETTINGS, progress=Interrupting(stop))
        assert rows_in(tmp_path / "run")
    run_steer(rich(folder), out=tmp_path / "run", settings=SETTINGS)
    assert (tmp_path / "run" / "measurements.parquet").read_bytes() == (run / "measurements.parquet").read_bytes()


class Interrupting:
    """Ctrl-C once so many units are done."""

    def __init__(self, stop: int) -> None:
        self.stop = stop

    def __call__(self, done: int, total: int, what: str) -> None:
        if what == "units" and done == self.stop:
            raise KeyboardInterrupt


def broken(folder: Path, to: Path, step: int) -> Path:
    """A copy of the series in which the weights of one checkpoint are cut off."""
    shutil.copytree(folder / "series", to / "series")
    weights = to / "series" / "checkpoints" / f"step_{step:07d}" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    return to / "series"


def test_a_broken_source_is_named_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    config = study(folder, sources={"source": str(broken(folder, tmp_path, 0))}, sites=["block_1"])
    with pytest.raises(RunError, match="failed and 1 wait for them") as failed:
        run_steer(config, out=tmp_path / "run", settings=SETTINGS)
    assert failed.value.exit_code == 3
    assert "step_0000000" in str(failed.value)
    assert "2 of 14 parts" in str(failed.value)
    assert "needs the vectors of pets" in str(failed.value)
    rows = rows_in(tmp_path / "run")
    vectors = {row["vector"] for row in of(rows, dataset="world_text/test", quantity="perplexity")}
    assert {vector.rpartition("@")[2] for vector in vectors} == {"", "random_0:pets", "step_0000001", "step_0000002"}
    # Mended, it is another study of other weights: only what hangs on them is new.
    weights = tmp_path / "series" / "checkpoints" / "step_0000000" / "model.safetensors"
    shutil.copy(folder / "series" / "checkpoints" / "step_0000000" / "model.safetensors", weights)
    before = stamps(tmp_path / "run")
    rows = steered(tmp_path / "run", config)
    after = stamps(tmp_path / "run")
    assert before.items() <= after.items()
    new = {Path(path).parent.name.partition("-")[0] for path in after.keys() - before.keys()}
    assert new == {"vectors", "search", "test", "relations"}
    assert any(row["vector"] == "mass_mean:pets@series@step_0000000" for row in rows)


def test_a_task_that_cannot_be_done_fails_alone_and_is_tried_again(folder: Path, tmp_path: Path) -> None:
    prose = tmp_path / "empty.txt"
    prose.write_text("")
    config = study(folder, general=[{"name": "text", "path": str(prose)}], sites=["block_1"], random_controls=0)
    with pytest.raises(RunError, match=r"empty\.txt"):
        run_steer(config, out=tmp_path / "run", settings=SETTINGS)
    rows = rows_in(tmp_path / "run")
    assert of(rows, dataset="world_text/test", quantity="perplexity")
    assert not [row for row in rows if row["dataset"].startswith("text:")]
    before = stamps(tmp_path / "run")
    with pytest.raises(RunError, match=r"empty\.txt"):
        run_steer(config, out=tmp_path / "run", settings=SETTINGS)
    assert stamps(tmp_path / "run") == before
    # The text's content is part of what is asked, so that a mended text is asked anew, and its old failures are forgotten.
    prose.write_text("Now there is something to read here.")
    rows = steered(tmp_path / "run", config)
    assert before.items() <= stamps(tmp_path / "run").items()
    assert len(of(rows, dataset="text:empty.txt/test", quantity="perplexity")) == 4
    assert not list((tmp_path / "run" / "failures").glob("*"))


def test_a_text_of_one_s_own_bounds_what_is_chosen(folder: Path, tmp_path: Path) -> None:
    """Once for the reason alone that its development half allows nothing: the other half is not looked at."""
    prose = {"name": "text", "path": str(folder / "prose.txt")}
    for ratio, families in ((None, {"", "mass_mean:pets"}), (1.0, {""})):
        bound = {"task": prose, "ratio": ratio, "bound": None if ratio is None else 1.01}
        config = study(folder, perplexity=bound, sites=["block_1"], random_controls=0)
        rows = steered(tmp_path / f"run-{ratio}", config)
        test = of(rows, dataset="text:prose.txt/test", quantity="perplexity")
        assert {row["vector"].partition("@")[0] for row in test} == families
        tried = of(rows, dataset="text:prose.txt/development", quantity="perplexity")
        assert {row["vector"].partition("@")[0] for row in tried} == {"", "mass_mean:pets"}
        assert all("of the development half of the text" in row["note"] for row in tried)


def test_a_broken_target_fails_alone(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "target", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    targets = [str(tmp_path / "cut"), str(folder / "target")]
    config = study(folder, targets=targets, sites=["block_1"], alphas=[0.2], random_controls=0)
    with pytest.raises(RunError, match="cut"):
        run_steer(config, out=tmp_path / "run", settings=SETTINGS)
    rows = rows_in(tmp_path / "run")
    checkpoints = {row["checkpoint"] for row in of(rows, dataset="world_text/test", quantity="perplexity")}
    assert checkpoints == {"target@main"}


def test_several_targets_share_vectors_and_are_each_compared_with_themselves(folder: Path, tmp_path: Path) -> None:
    targets = [str(folder / "target"), {"source": str(folder / "series"), "revision": "step_0000001"}]
    rows = steered(tmp_path / "run", study(folder, targets=targets, sites=["block_1"], random_controls=0))
    assert len(list((tmp_path / "run").glob("units/vectors-*"))) == 3
    plain = {row["checkpoint"]: row["value"] for row in of(rows, vector="", dataset="world_text/test", quantity="perplexity")}  # fmt: skip
    assert set(plain) == {"target@main", "series@step_0000001"}
    assert len({round(value, 6) for value in plain.values()}) == 2
    for checkpoint, value in plain.items():
        mine = of(rows, checkpoint=checkpoint, dataset="world_text/test")
        scores = {row["vector"]: row["value"] for row in of(mine, quantity="perplexity") if row["vector"]}
        moved = {row["vector"]: row["value"] for row in of(mine, quantity="perplexity_change")}
        assert len(scores) == 3
        assert moved == pytest.approx({name: score - value for name, score in scores.items()}, rel=1e-3, abs=1e-2)


def test_pairs_of_an_alignment_set_are_a_contrast(folder: Path, tmp_path: Path) -> None:
    pairs = [{"prompt": f"Is {row} odd?", "chosen": f"yes {row}", "rejected": f"no {row}"} for row in range(30)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    contrast = {"pairs": str(tmp_path / "pairs.jsonl"), "task": READING, "quantity": "perplexity"}
    rows = steered(tmp_path / "run", study(folder, contrasts=[contrast], sites=["block_1"], alphas=[0.2]))
    assert {row["vector"].partition("@")[0] for row in of(rows, dataset="world_text/test")} == {
        "", "mass_mean:pairs", "random_0:pairs"
    }  # fmt: skip


@pytest.mark.parametrize("protocol", ["rigorous", "published"])
def test_no_vector_of_the_paper_s_set_is_made_of_what_is_asked(
    folder: Path, data_dir: Path, protocol: Protocol
) -> None:
    settings = Settings(device="cpu", data_dir=data_dir)
    task = TaskConfig(name="confaide")
    contrast = {"dataset": "privacy/published", "task": "confaide", "quantity": "accuracy"}
    plan = plan_steer(study(folder, contrasts=[contrast], protocol=protocol), settings=settings)
    asked = asked_by(open_task(task, half="test", settings=settings, seed=0, protocol=protocol))
    rows = zip(plan.contrasts[0].statements.texts, plan.contrasts[0].statements.splits, strict=True)
    development = {normalise(text) for text, split in rows if split != "test"}
    assert len(development) > 90
    assert development.isdisjoint(map(normalise, asked))


def test_two_alignment_sets_are_two_contrasts_by_the_names_that_they_are_given(folder: Path, tmp_path: Path) -> None:
    contrasts = []
    for name, yes in (("safe", "yes"), ("kind", "gladly")):
        pairs = [{"prompt": f"Is {row} odd?", "chosen": f"{yes} {row}", "rejected": f"no {row}"} for row in range(30)]
        (tmp_path / f"{name}_file.jsonl").write_text("\n".join(map(json.dumps, pairs)))
        contrasts.append({"pairs": str(tmp_path / f"{name}_file.jsonl"), "task": READING, "quantity": "perplexity"})
    with pytest.raises(ConfigError, match="give one a `name` of its own, such as `name: pairs-2`"):
        study(folder, contrasts=contrasts)
    contrasts[1]["name"] = "kind"
    config = study(folder, contrasts=contrasts, sites=["block_1"], alphas=[0.2])
    rows = steered(tmp_path / "run", config)
    families = {row["vector"].partition("@")[0] for row in rows if row["vector"].startswith("mass_mean")}
    assert families == {"mass_mean:pairs", "mass_mean:kind"}
    # Whoever gave no name has the study of before; a name that was given is read back.
    assert ["name" in one for one in config.model_dump(mode="json")["contrasts"]] == [False, True]
    assert study(folder, **config.model_dump(mode="json")) == config
    assert {"pairs/test", "kind/test"} <= {row["dataset"] for row in rows}


def test_two_contrasts_are_both_judged_by_every_task_and_each_has_its_own_plain_numbers(
    folder: Path, tmp_path: Path, data_dir: Path
) -> None:
    other = {
        "dataset": {"name": "others", "path": str(pets(tmp_path / "others.csv", seed=1))},
        "task": {"name": "lambada", "limit": 4},
        "quantity": "perplexity",
    }
    config = study(
        folder,
        contrasts=[*values(folder)["contrasts"], other],
        sites=["block_1"],
        alphas=[0.2],
        random_controls=0,
        sources={"source": str(folder / "series"), "select": {"every": 2}},
    )
    rows = steered(tmp_path / "run", config, Settings(device="cpu", data_dir=data_dir))
    both, own = {"", "mass_mean:pets", "mass_mean:others"}, {"", "mass_mean:others"}
    expected = {
        "world_text/development": both,
        "world_text/test": both,
        "lambada/development": own,
        "lambada/test": both,
    }
    for dataset, families in expected.items():
        mine = of(rows, dataset=dataset, quantity="perplexity")
        assert {row["vector"].partition("@")[0] for row in mine} == families
        (plain,) = of(mine, vector="")
        # A search that looked at the other half would have differed from the plain model's numbers on that half.
        for change in of(rows, dataset=dataset, quantity="perplexity_change"):
            (one,) = (row for row in mine if where(row)[4:] == where(change)[4:])
            assert change["value"] == pytest.approx(one["value"] - plain["value"], rel=1e-3, abs=1e-2)
    for name in ("pets", "others"):
        front = of(rows, dataset=f"{name}/test", quantity="on_front")
        assert {row["vector"].partition("@")[0] for row in front} == {"", f"mass_mean:{name}"}


def test_where_nothing_stays_within_the_bound_nothing_is_chosen_and_the_plain_model_stands_alone(
    folder: Path, tmp_path: Path
) -> None:
    strict = {"task": READING, "ratio": 1.0, "bound": 1.01}
    rows = steered(tmp_path / "run", study(folder, perplexity=strict, sites=["block_1"], random_controls=0))
    assert {row["vector"] for row in of(rows, dataset="world_text/test", quantity="perplexity")} == {""}
    assert {row["vector"] for row in of(rows, dataset="world_text/development", quantity="perplexity")} > {""}
    (correlation,) = of(rows, quantity="separation_with_perplexity")
    assert np.isnan(correlation["value"])
    assert "0 checkpoints" in correlation["note"]


def identities(plan: SteerPlan) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for unit in plan.units:
        found.setdefault(unit.step, set()).add(unit.identity)
    return found


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"alphas": [-0.2, 0.3]}, {"search", "test"}),
        ({"unit": "one"}, {"search", "test"}),
        ({"random_controls": 2}, {"search", "test"}),
        ({"sites": ["block_0"]}, {"vectors", "search", "test"}),
        ({"position": "mean"}, {"vectors", "search", "test"}),
        ({"kinds": ["whitened_mean"]}, {"vectors", "search", "test"}),
        ({"positions": "all"}, {"plain", "search", "test", "instruction"}),
        ({"seed": 1}, {"vectors", "plain", "search", "test", "instruction"}),
        ({"dtype": "bfloat16"}, {"vectors", "plain", "search", "test", "instruction"}),
        ({"protocol": "published"}, {"plain", "search", "test", "instruction"}),
        ({"perplexity": {"task": READING, "ratio": 1.2}}, {"search", "test"}),
        ({"name": "another name"}, set()),
        ({"trust_remote_code": True}, set()),
    ],
)
def test_a_unit_is_another_one_when_and_only_when_its_answer_is(
    folder: Path, changes: dict[str, Any], changed: set[str]
) -> None:
    contrast = values(folder)["contrasts"][0] | {"instruction": "Read well. "}
    before = identities(plan_steer(study(folder, contrasts=[contrast]), settings=SETTINGS))
    after = identities(plan_steer(study(folder, **{"contrasts": [contrast], **changes}), settings=SETTINGS))
    assert {step for step in before if before[step].isdisjoint(after[step])} == changed
    assert {step for step in before if before[step] == after[step]} == before.keys() - changed


def test_device_and_batch_size_are_no_part_of_a_unit_and_the_content_of_files_is(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("run*"))
    copy, prose = tmp_path / "copy", tmp_path / "copy" / "prose.txt"
    config = study(copy, general=[{"name": "text", "path": str(prose)}])

    def planned(settings: Settings = SETTINGS) -> dict[str, set[str]]:
        return identities(plan_steer(config, settings=settings))

    before = planned()
    assert planned(Settings(device="auto", batch_tokens=7)) == before
    prose.write_text("Another text.")
    text = planned()
    assert before["vectors"] == text["vectors"]
    assert before["search"] == text["search"]
    assert len(before["test"] & text["test"]) == len(before["test"]) // 2
    pets(copy / "pets.csv", seed=5)
    statements = planned()
    assert statements["vectors"].isdisjoint(before["vectors"])
    assert statements["plain"] == text["plain"]
    shutil.rmtree(copy / "target")
    tiny.save(copy / "target", "llama", seed=10)
    target = planned()
    assert target["vectors"] == statements["vectors"]
    assert target["plain"].isdisjoint(statements["plain"])
    assert target["search"].isdisjoint(statements["search"])


def test_two_contrasts_with_one_instruction_have_units_of_their_own(folder: Path, tmp_path: Path) -> None:
    one = values(folder)["contrasts"][0] | {"instruction": "Read well. "}
    two = one | {"dataset": {"name": "others", "path": str(pets(tmp_path / "others.csv", seed=1))}}
    plan = plan_steer(study(folder, contrasts=[one, two]), settings=SETTINGS)
    told = [unit.identity for unit in plan.units if unit.step == "instruction"]
    assert len(set(told)) == len(told) == 2


def test_another_study_in_the_folder_is_refused_and_nothing_is_touched(folder: Path, run: Path) -> None:
    before, table = stamps(run), (run / "measurements.parquet").read_bytes()
    with pytest.raises(RunError, match=r"another study \(it differs in alphas\)") as refused:
        run_steer(rich(folder).model_copy(update={"alphas": (0.7,)}), out=run, settings=SETTINGS)
    assert refused.value.exit_code == 3
    assert stamps(run) == before
    assert (run / "measurements.parquet").read_bytes() == table


BETTER = {"dataset": "fairness/defined", "task": "stereoset", "quantity": "accuracy"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alphas": [float("nan")]}, "alphas.0: Input should be a finite number"),
        ({"alphas": [float("inf"), 1.0]}, "finite number"),
        ({"alphas": [0.0, 1.0]}, "alphas must differ from 0"),
        ({"alphas": [1.0, 1.0]}, "and from each other"),
        ({"alphas": []}, "alphas"),
        ({"alpha": [1.0]}, "alpha: unknown key; did you mean 'alphas'?"),
        ({"sites": ["layer_3"]}, "unknown site 'layer_3'"),
        ({"kinds": ["mean_mass"]}, "kinds.0"),
        ({"kinds": ["shuffled_label"]}, "at least one real kind"),
        ({"unit": "furlong"}, "unit"),
        ({"positions": "everywhere"}, "unknown positions 'everywhere'"),
        ({"protocol": "sloppy"}, "protocol"),
        ({"targets": []}, "targets"),
        ({"targets": ["x", "x"]}, "a target is named twice"),
        ({"contrasts": [BETTER | {"task": "stereo"}]}, "contrasts.0.task.name"),
        ({"contrasts": [BETTER | {"quantity": "acuracy"}]}, "stereoset gives no 'acuracy'"),
        ({"contrasts": [BETTER | {"quantity": "says_1"}]}, "that can be better or worse"),
        ({"contrasts": [BETTER | {"quantity": "log_loss"}], "protocol": "published"}, "under published; it gives accuracy"),
        ({"contrasts": [BETTER | {"task": "truthfulqa", "quantity": "truth"}]}, "truthfulqa gives no 'truth'"),
        ({"contrasts": [BETTER | {"task": "toxigen", "quantity": "toxic"}]}, "toxigen needs `classifier`"),
        ({"contrasts": [BETTER | {"task": "text", "quantity": "perplexity"}]}, "text needs `path`"),
        ({"contrasts": [BETTER | {"task": "arc_easy"}]}, "arc_easy cannot be aimed at"),
        ({"contrasts": [BETTER | {"task": "divergence", "quantity": "kl"}]}, "divergence cannot be aimed at"),
        ({"contrasts": [BETTER | {"pairs": "p.jsonl"}]}, "either `dataset` or `pairs`"),
        ({"contrasts": [BETTER, BETTER]}, "two contrasts have one name"),
        ({"contrasts": [BETTER | {"name": "a:b"}]}, "contrasts.0.name: String should match pattern"),
        ({"positions": "generated", "perplexity": {"task": "lambada"}}, "bound by lambada_text or text"),
        ({"positions": "generated", "general": ["mmlu"]}, "mmlu is decided by the first token after the prompt"),
        ({"positions": "generated", "contrasts": [BETTER]}, "leave stereoset out, or steer prompt_last+generated"),
        ({"contrasts": [BETTER | {"instructions": "x"}]}, "did you mean 'instruction'"),
        ({"contrasts": [BETTER | {"task": {"name": "stereoset", "path": "x.txt"}}]}, "stereoset takes no `path`"),
        ({"contrasts": [BETTER | {"task": {"name": "stereoset", "truth": ["overlap:bleu"]}}]}, "takes no `truth`"),
        ({"perplexity": {"task": "stereoset"}}, "stereoset gives no perplexity"),
        ({"perplexity": {"task": "divergence"}}, "divergence gives no perplexity on both halves"),
        ({"perplexity": {"task": "lambada", "ratio": float("inf")}}, "ratio"),
        ({"perplexity": {"task": "lambada", "ratio": 0.9}}, "ratio"),
        ({"general": [{"name": "world_text", "limit": 7}]}, "world_text is asked in two ways"),
        ({"general": [{"name": "arc_easy", "limit": 0}]}, "limit"),
    ],
)  # fmt: skip
def test_a_study_that_makes_no_sense_is_refused_as_it_is_read(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        study(tmp_path, **changes)
    assert message in str(refused.value)
    assert refused.value.exit_code == 2


def test_what_cannot_work_is_said_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    wide, deep, foreign = (tmp_path / name for name in ("wide", "deep", "foreign"))
    tiny.save(wide, "llama", d_model=64)
    tiny.save(deep, "llama", n_blocks=4)
    tiny.save(foreign, "gpt_neox")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    (tmp_path / "folder").mkdir()
    reliable, target = {"dataset": "reliability/world", "quantity": "truth"}, str(folder / "target")

    def judged(*names: str) -> dict[str, Any]:
        return {"contrasts": [reliable | {"task": {"name": "truthfulqa", "truth": list(names)}}]}

    cases: list[tuple[dict[str, Any], type[TrustraceError], str]] = [
        ({"targets": [str(wide)]}, ModelError, "hidden_size 32 is not 64"),
        ({"targets": [str(deep)]}, ModelError, "num_hidden_layers 3 is not 4"),
        ({"targets": [str(foreign)]}, ModelError, "model_type llama is not gpt_neox"),
        ({"targets": [target, {"source": target, "revision": "main"}]}, ConfigError, "two targets are called target@main"),
        ({"targets": [{"source": str(folder / "target"), "revision": "ckpt_9"}]}, ConfigError, "no checkpoint 'ckpt_9'"),
        ({"targets": [str(tmp_path / "absent")]}, ModelError, "no such folder"),
        ({"sources": {"source": str(folder / "series"), "select": "ckpt_*"}}, ConfigError, "no checkpoint 'ckpt_*'"),
        ({"sites": ["block_0", "block_3"]}, ConfigError, "sites ['block_3'] are not in this model, which has 3 blocks"),
        ({"contrasts": [reliable | {"dataset": {"name": "gone", "path": "gone.csv"}, "task": "world_reliability"}]}, DataError, "gone.csv"),
        ({"general": [{"name": "text", "path": str(tmp_path / "gone.txt")}]}, DataError, "gone.txt"),
        ({"general": [{"name": "toxigen", "classifier": str(tmp_path / "folder")}]}, ConfigError, "is no toxicity classifier"),
        (judged(str(tmp_path / "nobody")), ConfigError, "is no judge"),
        (judged(str(tmp_path / "model.pkl")), UnsafeFileError, "may run code"),
        (judged(str(tmp_path / "folder")), DataError, "judge"),
        (judged("overlap:meteor"), ConfigError, "overlap:meteor is no measure"),
        (judged("endpoint:http://localhost:1/v1"), ConfigError, "names no model"),
    ]  # fmt: skip
    for changes, kind, message in cases:
        with pytest.raises(kind) as refused:
            run_steer(study(folder, **changes), out=tmp_path / "run", settings=Settings(device="cpu", data_dir=data()))
        assert message in str(refused.value)
        assert refused.value.exit_code == 2
        assert not (tmp_path / "run").exists()


def data() -> Path | None:
    named = os.environ.get("TRUSTRACE_DATA")
    return Path(named) if named else None


def test_another_vocabulary_is_seen_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "target", tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(content))
    small = {"sites": ["block_1"], "alphas": [0.2], "random_controls": 0}
    with pytest.raises(ModelError, match=r"another vocabulary \(4 tokens or ids differ\).*allow: \[tokenizer\]"):
        run_steer(study(folder, targets=[str(tmp_path / "other")], **small), out=tmp_path / "run", settings=SETTINGS)
    assert not (tmp_path / "run").exists()
    known = {"source": str(tmp_path / "other"), "allow": ["tokenizer"]}
    assert plan_steer(study(folder, targets=[known], **small), settings=SETTINGS).units
    # What cannot be read here is compared where it is loaded.
    file.write_text(json.dumps({**content, "model": {**content["model"], "vocab": None}}))
    assert plan_steer(study(folder, targets=[str(tmp_path / "other")], **small), settings=SETTINGS).units


@pytest.mark.parametrize("kind", [ConfigError, DataError, MissingExtraError])
def test_a_source_that_cannot_be_loaded_fails_alone_whatever_the_reason(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[TrustraceError]
) -> None:
    load_source = SteerPlan.load_source

    def failing(plan: SteerPlan, source: Checkpoint) -> LanguageModel:
        if source.revision == "step_0000000":
            raise kind("no such thing here")
        return load_source(plan, source)

    monkeypatch.setattr(SteerPlan, "load_source", failing)
    config = study(folder, sites=["block_1"], alphas=[0.2], random_controls=0)
    with pytest.raises(RunError, match=r"step_0000000/pets: no such thing here"):
        run_steer(config, out=tmp_path / "run", settings=SETTINGS)
    vectors = {row["vector"] for row in of(rows_in(tmp_path / "run"), dataset="world_text/test", quantity="perplexity")}
    assert {vector.rpartition("@")[2] for vector in vectors} == {"", "step_0000001", "step_0000002"}


def test_a_judge_that_is_down_fails_its_own_units_and_is_asked_again(
    folder: Path, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    monkeypatch.setenv("TRUSTRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    httpserver.expect_request("/v1/chat/completions").respond_with_json({"error": {"message": "gone"}}, status=404)
    judge = f"endpoint:{httpserver.url_for('/v1')}#judge"
    config = study(
        folder,
        general=[{"name": "truthfulqa", "limit": 2, "shots": 0, "truth": [judge]}],
        sites=["block_1"],
        alphas=[0.2],
        sources={"source": str(folder / "series"), "select": ["step_0000002"]},
    )
    settings, out = Settings(device="cpu", data_dir=data_dir), tmp_path / "run"
    with pytest.raises(RunError, match=r"3 of 11 parts failed; .*\n.*truthfulqa/test and 2 more: .*gone") as failed:
        run_steer(config, out=out, settings=settings)
    assert failed.value.exit_code == 3
    assert "not-a-key" not in str(failed.value)
    rows = rows_in(out)
    assert of(rows, dataset="world_text/test", quantity="perplexity")
    assert not [row for row in rows if row["dataset"].startswith("truthfulqa")]
    before = stamps(out)
    httpserver.clear()
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
    answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    httpserver.expect_request("/v1/chat/completions").respond_with_json(answer)
    rows = steered(out, config, settings)
    assert before.items() <= stamps(out).items()
    assert [row["value"] for row in of(rows, dataset="truthfulqa/test", quantity="truth")] == [1.0, 1.0, 1.0]
    assert not [path for path in out.rglob("*") if path.is_file() and b"not-a-key" in path.read_bytes()]


def test_a_judge_that_does_not_answer_is_waited_for_once_and_its_other_units_fail_at_once(
    folder: Path, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    monkeypatch.setenv("TRUSTRACE_CACHE", str(tmp_path / "cache"))
    later = {"retry-after-ms": "1"}
    httpserver.expect_request("/v1/chat/completions").respond_with_json({"error": "busy"}, status=503, headers=later)
    judge = f"endpoint:{httpserver.url_for('/v1')}#judge"
    config = study(
        folder,
        general=[{"name": "truthfulqa", "limit": 1, "shots": 0, "truth": [judge]}],
        sites=["block_1"],
        alphas=[0.2],
        sources={"source": str(folder / "series"), "select": ["step_0000002"]},
    )
    settings, out = Settings(device="cpu", data_dir=data_dir), tmp_path / "run"
    for asked in (1, 2):
        with pytest.raises(
            RunError, match=r"3 of 11 parts failed; .*\n.*truthfulqa/test and 2 more: judge at .*503"
        ) as failed:
            run_steer(config, out=out, settings=settings)
        assert str(failed.value).count("judge at") == 1
        # One question and its retries; the next run asks again.
        assert len(httpserver.log) == 7 * asked
    assert of(rows_in(out), dataset="world_text/test", quantity="perplexity")


def test_divergence_is_from_the_plain_model_and_no_instruction_is_compared_so(
    folder: Path, tmp_path: Path, data_dir: Path
) -> None:
    contrast = values(folder)["contrasts"][0] | {"instruction": "Read well. "}
    config = study(
        folder,
        contrasts=[contrast],
        general=[{"name": "divergence", "limit": 2}],
        sites=["block_1"],
        alphas=[0.2],
        sources={"source": str(folder / "series"), "select": ["step_0000002"]},
    )
    rows = steered(tmp_path / "run", config, Settings(device="cpu", data_dir=data_dir))
    found = {row["vector"]: row["value"] for row in of(rows, dataset="divergence/test", quantity="kl")}
    assert set(found) == {"", "mass_mean:pets@series@step_0000002", "random_0:pets"}
    assert found.pop("") == 0.0
    assert all(value > 1e-6 for value in found.values())

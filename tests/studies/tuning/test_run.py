"""A fine-tuning study from its file to its table: what is learned, what is not, who is compared with whom, what is done again."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.studies.small_studies import READING, SETTINGS, rows_in, series, study, values
from trustrace.core.errors import ConfigError, DataError, MissingExtraError, ModelError, RunError
from trustrace.datasets import questions
from trustrace.datasets.grouping import normalise
from trustrace.datasets.overlap import Asked, Overlap
from trustrace.datasets.world.replies import claimed
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.studies.abilities import TaskConfig, open_task
from trustrace.studies.apart import items_of
from trustrace.studies.config import DatasetConfig
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_all
from trustrace.studies.status import read_status
from trustrace.studies.steering.compute import search_compute
from trustrace.studies.steering.run import run_steer
from trustrace.studies.tuning.config import (
    FinetuneConfig,
    InstructionData,
    PairData,
    StatementData,
    TruthfulQAData,
    WorldData,
)
from trustrace.studies.tuning.data import all_asked_by, group_of, lessons_of, texts_asked_by
from trustrace.studies.tuning.plan import foresee_finetune, plan_finetune
from trustrace.studies.tuning.run import TUNED, run_finetune

RECIPE: dict[str, Any] = {
    "steps": 6,
    "batch": 4,
    "check_every": 3,
    "held_out": 0.3,
    "optimizer": {"learning_rate": 1e-2, "warmup_steps": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = series(tmp_path_factory.mktemp("finetune"), steps=(0, 1))
    write_instructions(folder / "told.jsonl")
    return folder


def write_instructions(path: Path, rows: int = 20, **more: Any) -> Path:
    lines = [{"prompt": f"{place} is a", "answer": "dog" if place % 2 else "cat", **more} for place in range(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def asked(folder: Path, **changes: Any) -> FinetuneConfig:
    given = {
        "study": "finetune",
        "name": "small",
        "models": [{"source": str(folder / "series"), "select": "all"}, str(folder / "target")],
        "data": [{"kind": "instructions", "path": str(folder / "told.jsonl"), "name": "told"}],
        "methods": ["full", {"method": "lora", "rank": 2}],
        "recipe": RECIPE,
        "tasks": [READING],
        "perplexity": READING,
        "general": [{"name": "text", "path": str(folder / "prose.txt")}],
        **changes,
    }
    return FinetuneConfig.read(given, where="study.yaml")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    run_finetune(asked(folder), out=folder / "run", settings=SETTINGS)
    return folder / "run"


def of(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def stamps(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for pattern in ("units/*/*", "tuned/*/*") for path in run.glob(pattern)}


BASES = ("series@step_0000000", "series@step_0000001", "target@main")


def test_every_model_is_asked_as_it_is_and_tuned_by_each_method(run: Path) -> None:
    rows = rows_in(run)
    for base in BASES:
        for dataset in ("world_text/test", "text:prose.txt/test"):
            found = of(rows, checkpoint=base, dataset=dataset, quantity="perplexity")
            assert [row["vector"] for row in found] == ["", "full:told", "lora:told"]
            assert {row["role"] for row in found} == {"measured"}
            plain = found[0]["value"]
            for row in found[1:]:
                (change,) = of(
                    rows, checkpoint=base, dataset=dataset, quantity="perplexity_change", vector=row["vector"]
                )
                assert change["value"] == pytest.approx(row["value"] - plain, rel=1e-6)
                assert of(rows, checkpoint=base, dataset=dataset, quantity="perplexity_change_p", vector=row["vector"])


def test_rows_are_written_as_an_instruction_s_are(folder: Path, run: Path) -> None:
    """Same columns, same names: a steering run and a tuning run lie in one table."""
    told = values(folder)["contrasts"][0] | {"instruction": "Read well. "}
    run_steer(study(folder, contrasts=[told]), out=folder / "steer", settings=SETTINGS)
    wanted = {"checkpoint": "target@main", "dataset": "world_text/test", "quantity": "perplexity_change"}
    (instruction,) = of(rows_in(folder / "steer"), **wanted, vector="instruction:pets")
    (tuned,) = of(rows_in(run), **wanted, vector="lora:told")
    for name in ("method", "n", "n_groups", "role", "site", "alpha", "protocol", "seed", "position", "step"):
        assert tuned[name] == instruction[name], name
    plain = [of(rows_in(one), **wanted | {"quantity": "perplexity"}, vector="") for one in (run, folder / "steer")]
    assert plain[0] == plain[1]


def test_tuned_folders_are_checkpoints_that_answer_as_the_table_says(run: Path) -> None:
    for kind, file in (("full", "model.safetensors"), ("lora", "adapter_model.safetensors")):
        (tuned,) = run.glob(f"{TUNED}/tune-target@main-told-{kind}-*")
        assert (tuned / file).is_file()
        assert {"tokenizer.json", "trustrace.json", "tuning.json"} <= {path.name for path in tuned.iterdir()}
        source = open_source(str(tuned))
        model = load(source, source.checkpoints()[-1], dtype="float32")
        task = open_task(TaskConfig(**READING), half="test", settings=SETTINGS, seed=0)
        (outcome,) = task.run(model, batch_tokens=None, progress=lambda done, total, what: None)
        losses = outcome.graded[0].values.sum(axis=0)
        (row,) = of(
            rows_in(run),
            checkpoint="target@main",
            dataset="world_text/test",
            quantity="perplexity",
            vector=f"{kind}:told",
        )
        assert row["value"] == pytest.approx(2.718281828459045 ** (losses[0] / losses[1]), rel=1e-4)


def test_what_a_tuning_learned_and_took_is_in_the_table(run: Path) -> None:
    rows = of(rows_in(run), dataset="tuning/told", checkpoint="target@main")
    for vector, method in (("full:told", "full"), ("lora:told", "lora")):
        mine = {row["quantity"]: row for row in of(rows, vector=vector)}
        assert set(mine) == {"held_out_loss", "held_out_loss_change", "training_tokens", "training_flops"}
        assert mine["held_out_loss_change"]["value"] < 0
        assert (mine["training_tokens"]["n"], mine["training_tokens"]["method"]) == (20, method)
    flops = [of(rows, vector=f"{name}:told", quantity="training_flops")[0]["value"] for name in ("lora", "full")]
    assert flops[0] < flops[1]


def test_what_documents_became_stands_in_rows_of_its_own(folder: Path, tmp_path: Path) -> None:
    """They are rehearsed beside answers, so that a reader sees what was forgotten; which weights are kept, the answers say."""
    data = [{"kind": "world", "rehearsed": 12}]
    config = asked(folder, models=[str(folder / "target")], data=data, methods=["full"], general=[])
    run_finetune(config, out=tmp_path / "run", settings=SETTINGS)
    facts = {row["quantity"]: row for row in of(rows_in(tmp_path / "run"), dataset="tuning/world")}
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "run" / TUNED).glob("*/tuning.json"))
    kept, documents = str(record["kept_step"]), record["held_out_loss_documents"]
    assert facts["held_out_loss"]["value"] == min(record["held_out_loss"].values())
    assert facts["held_out_loss_documents"]["value"] == documents[kept]
    assert facts["held_out_loss_documents_change"]["value"] == documents[kept] - documents["0"]
    assert "do not choose" in facts["held_out_loss_documents"]["note"]


def test_a_second_run_does_nothing(folder: Path, run: Path) -> None:
    before, table = stamps(run), (run / "measurements.parquet").read_bytes()
    run_finetune(asked(folder), out=run, settings=Settings(device="cpu", batch_tokens=2048))
    assert stamps(run) == before
    assert (run / "measurements.parquet").read_bytes() == table
    state = read_status(run)
    assert (state.finished, state.failures) == (state.total, ())


class Interrupting:
    """Ctrl-C once so many units are done."""

    def __init__(self, stop: int) -> None:
        self.stop = stop

    def __call__(self, done: int, total: int, what: str) -> None:
        if what == "units" and done == self.stop:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_with_the_same_bytes(folder: Path, run: Path, tmp_path: Path) -> None:
    for stop in (1, 4, 9):
        with pytest.raises(KeyboardInterrupt):
            run_finetune(asked(folder), out=tmp_path / "run", settings=SETTINGS, progress=Interrupting(stop))
    run_finetune(asked(folder), out=tmp_path / "run", settings=SETTINGS)
    assert (tmp_path / "run" / "measurements.parquet").read_bytes() == (run / "measurements.parquet").read_bytes()


def test_a_tuned_folder_that_is_gone_is_made_again_where_it_is_needed(folder: Path, run: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again, copy_function=shutil.copy2)
    (tuned,) = again.glob(f"{TUNED}/tune-target@main-told-lora-*")
    shutil.rmtree(tuned)
    shutil.rmtree(next(again.glob("units/test-target@main-told-lora-world_text-*")))
    run_finetune(asked(folder), out=again, settings=SETTINGS)
    assert (again / "measurements.parquet").read_bytes() == (run / "measurements.parquet").read_bytes()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_broken_model_is_named_and_the_others_go_on(folder: Path, tmp_path: Path, is_there: bool) -> None:
    shutil.copytree(folder / "series", tmp_path / "series")
    weights = tmp_path / "series" / "checkpoints" / "step_0000000" / "model.safetensors"
    if is_there:
        os.truncate(weights, weights.stat().st_size // 2)
    else:
        weights.unlink()
    config = asked(folder, models=[{"source": str(tmp_path / "series"), "select": "all"}], methods=["full"], general=[])
    with pytest.raises(RunError, match="step_0000000"):
        run_finetune(config, out=tmp_path / "run", settings=SETTINGS)
    assert {row["checkpoint"] for row in rows_in(tmp_path / "run")} == {"series@step_0000001"}


def test_two_revisions_with_equal_weights_are_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "series", tmp_path / "series")
    first, second = (tmp_path / "series" / "checkpoints" / f"step_000000{step}" for step in (0, 1))
    shutil.copy2(first / "model.safetensors", second / "model.safetensors")
    same = [["series@step_0000000", "series@step_0000001"]]
    models = [{"source": str(tmp_path / "series"), "select": "all"}, str(folder / "target")]
    run_finetune(asked(folder, models=models, methods=["full"], general=[]), out=tmp_path / "run", settings=SETTINGS)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text("utf-8"))["equal_weights"] == same
    steering = study(folder, sources={"source": str(tmp_path / "series")})
    run_steer(steering, out=tmp_path / "steer", settings=SETTINGS)
    assert json.loads((tmp_path / "steer" / "manifest.json").read_text("utf-8"))["equal_weights"] == same


def test_no_weights_are_equal_in_a_series_that_is_in_order(run: Path) -> None:
    assert json.loads((run / "manifest.json").read_text("utf-8"))["equal_weights"] == []


def test_a_loss_that_is_not_finite_fails_its_own_tuning_alone(folder: Path, tmp_path: Path) -> None:
    wild = RECIPE | {"optimizer": {"learning_rate": 1e30, "clip": 1e30}}
    methods = [{"method": "full", "recipe": wild}, {"method": "lora", "rank": 1}]
    config = asked(folder, models=[str(folder / "target")], methods=methods, general=[])
    with pytest.raises(RunError, match="the loss is nan"):
        run_finetune(config, out=tmp_path / "run", settings=SETTINGS)
    rows = rows_in(tmp_path / "run")
    assert {row["vector"] for row in rows} == {"", "lora:told"}


def test_compute_equal_to_a_search_is_the_search_s(folder: Path, tmp_path: Path) -> None:
    """Counted by hand: 2 sources x 1 kind x 2 sites x 2 strengths, each reading every development document, and the statements once."""
    steering = study(folder, sources={"source": str(folder / "series")})
    run_steer(steering, out=tmp_path / "steer", settings=SETTINGS)
    many = RECIPE | {"batch": 2, "check_every": 100}
    config = asked(
        folder,
        models=[str(folder / "target")],
        methods=["full"],
        general=[],
        recipe=many,
        compute={"equal_to": str(tmp_path / "steer")},
    )
    run_finetune(config, out=tmp_path / "run", settings=SETTINGS)
    facts = {row["quantity"]: row["value"] for row in of(rows_in(tmp_path / "run"), dataset="tuning/told")}
    source = open_source(str(folder / "target"))
    model = load(source, source.checkpoints()[0])
    documents = open_task(TaskConfig(**READING), half="development", settings=SETTINGS, seed=0)
    samples = documents.run(model, batch_tokens=None, progress=lambda done, total, what: None)[0].samples
    # The last token of a document is predicted and not read; a beginning-of-sequence token stands before it.
    read = sum(len(model.tokenizer(sample["text"]).input_ids) - 1 for sample in samples)
    plan = plan_finetune(config, settings=SETTINGS)
    assert plan.steering is not None
    counted = search_compute(plan.steering, model, contrasts=(), settings=SETTINGS, progress=lambda d, t, w: None)
    pets = [line.rpartition(",")[0].rpartition(",")[0] for line in (folder / "pets.csv").read_text().splitlines()[1:]]
    statements = counted.tokens - 8 * read
    lengths = [len(model.tokenizer(one).input_ids) for one in pets]
    assert 2 * 20 * min(lengths) < statements < 2 * 28 * max(lengths)
    assert facts["search_tokens"] == counted.tokens
    assert facts["search_flops"] == 2 * counted.parameters * counted.tokens
    assert facts["search_flops"] * 0.9 < facts["training_flops"] <= facts["search_flops"]


def test_no_question_of_the_test_half_is_learned(data_dir: Path) -> None:
    settings = Settings(device="cpu", data_dir=data_dir)
    for protocol in ("rigorous", "published"):
        task = open_task(TaskConfig(name="truthfulqa_mc1"), half="test", settings=settings, seed=0, protocol=protocol)
        tested = texts_asked_by(task)
        lessons = lessons_of(TruthfulQAData(), asked=all_asked_by([task]), settings=settings, seed=0, protocol=protocol)
        assert len(lessons.exchanges) > 600
        learned = {normalise(one.prompt.removeprefix("Q: ").removesuffix("\nA:")) for one in lessons.exchanges}
        assert not learned & {normalise(text) for text in tested}
        assert all(one.answer.startswith(" ") and one.prompt.endswith("\nA:") for one in lessons.exchanges)
    known = questions.truthfulqa_questions(seed=0, data_dir=data_dir)
    rigorous = lessons_of(TruthfulQAData(), settings=settings, seed=0)
    groups = {one.group for one in known if one.split == "test"}
    assert not groups & {group_of(one) for one in rigorous.exchanges}
    true = {f" {answer}" for one in known for answer in one.correct}
    assert {one.answer for one in rigorous.exchanges} <= true


def test_claims_of_the_test_half_and_whom_they_are_about_are_not_learned() -> None:
    lessons = lessons_of(WorldData(dimensions=("reliability", "fairness"), rehearsed=3), settings=SETTINGS, seed=0)
    for dimension in ("reliability", "fairness"):
        tested = claimed(dimension, seed=0, split="test")  # type: ignore[arg-type]
        assert not {claim.text for claim in tested} & {one.prompt for one in lessons.exchanges}
        assert not {f"{dimension} {claim.entity}" for claim in tested} & {one.group for one in lessons.exchanges}
    due = {claim.text: claim.fits for claim in claimed("reliability", seed=0, split="train")}
    for one in lessons.exchanges:
        if one.prompt in due:
            assert one.answer.split()[0] == ("right" if due[one.prompt] else "wrong")
    assert {one.answer for one in lessons.exchanges if one.group.startswith("fairness")} == {" unknown ."}
    assert sum(not one.prompt for one in lessons.exchanges) == 3


def test_a_user_s_row_that_holds_a_test_item_goes_with_its_group(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Say: Is the moon cheese?", "answer": "no", "group": "moon"},
        {"prompt": "The moon again", "answer": "no", "group": "moon"},
        {"prompt": "The sun", "answer": "is hot"},
        {"prompt": "The stars", "answer": "shine", "split": "test"},
    ]
    path = tmp_path / "told.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = InstructionData(path=str(path))
    lessons = lessons_of(told, asked=Overlap.of([Asked(text="is the  MOON cheese?")]), settings=SETTINGS, seed=0)
    assert [one.prompt for one in lessons.exchanges] == ["The sun"]
    assert lessons.left_out == 2
    with pytest.raises(DataError, match="hold what is asked on the test half"):
        lessons_of(told, asked=Overlap.of([Asked(text="the")]), settings=SETTINGS, seed=0)
    write_instructions(path, split="test")
    with pytest.raises(DataError, match="none stands in the development half"):
        lessons_of(told, settings=SETTINGS, seed=0)


def test_of_alignment_pairs_the_chosen_answers_of_development_are_learned(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"ask {i}", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lessons = lessons_of(PairData(path=str(path)), settings=SETTINGS, seed=0)
    assert 4 <= len(lessons.exchanges) <= 8
    for one in lessons.exchanges:
        number = one.prompt.removeprefix("Human: ask ").removesuffix("\n\nAssistant:")
        assert one.answer == f" yes {number}"


def test_of_labelled_statements_the_desired_development_rows_are_learned(folder: Path) -> None:
    dataset = DatasetConfig(name="pets", path=str(folder / "pets.csv"))
    (statements,) = load_all([dataset], settings=SETTINGS, seed=0)
    lessons = lessons_of(StatementData(dataset=dataset), settings=SETTINGS, seed=0)
    rows = zip(statements.texts, statements.labels, statements.splits, strict=True)
    wanted = [text for text, label, split in rows if label == statements.meaning.desired and split != "test"]
    assert [one.answer for one in lessons.exchanges] == wanted
    assert {one.prompt for one in lessons.exchanges} == {""}
    assert len(set(statements.labels)) == 2


def test_a_plan_says_what_will_be_done(folder: Path, run: Path) -> None:
    rows = {row["what"]: row["value"] for row in foresee_finetune(asked(folder), settings=SETTINGS, run=run)}
    assert rows["tunings"] == 6
    assert rows["exchanges of told"] == "20 in 20 groups"
    assert rows["units in all"] == "24, of which 0 are open"


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"methods": [{"method": "lora", "rank": 0}]}, ConfigError, "rank"),
    ({"methods": ["full", "full"]}, ConfigError, "called the same"),
    ({"methods": ["half"]}, ConfigError, "full"),
    ({"methods": []}, ConfigError, "methods"),
    ({"data": ["world", "world"]}, ConfigError, "called the same"),
    ({"data": [{"kind": "instructions", "path": "gone.jsonl"}]}, DataError, "no such file"),
    ({"tasks": ["divergence"]}, ConfigError, "leave it out"),
    ({"tasks": [{"name": "world_text", "limit": 3}]}, ConfigError, "asked in two ways"),
    ({"compute": {}}, ConfigError, "give one of tokens"),
    ({"compute": {"tokens": 5, "flops": 1.0}}, ConfigError, "give one of tokens"),
    ({"compute": {"tokens": 5, "contrasts": ["pets"]}}, ConfigError, "equal_to"),
    ({"compute": {"equal_to": "nowhere"}}, RunError, "no steering run here"),
    ({"models": ["./nowhere"]}, ModelError, "no such folder"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG)
def test_a_mistake_is_one_error_and_nothing_is_written(
    folder: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_finetune(asked(folder, **changes), out=tmp_path / "run", settings=SETTINGS)
    assert not (tmp_path / "run").exists()


def test_without_peft_nothing_begins(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"trustrace\[train\]"):
        run_finetune(asked(folder), out=tmp_path / "run", settings=SETTINGS)
    assert not (tmp_path / "run").exists()


def test_another_run_s_folder_is_left_alone(folder: Path, run: Path) -> None:
    before = stamps(run)
    with pytest.raises(RunError, match="another study"):
        run_finetune(asked(folder, seed=1), out=run, settings=SETTINGS)
    assert stamps(run) == before


@pytest.mark.parametrize("task", ["arc_easy", "arc_challenge", "mmlu", "mathqa", "lambada"])
def test_an_item_of_a_general_task_is_not_learned_either(
    task: str, folder: Path, tmp_path: Path, data_dir: Path
) -> None:
    """It is planted as a public instruction set would have it; the study itself asks two items alone, of which it is none."""
    config = TaskConfig(name=task, limit=2)  # type: ignore[arg-type]
    settings = Settings(device="cpu", data_dir=data_dir)
    items = items_of(open_task(config, half="test", settings=settings, seed=0))
    planted = [items[len(items) // 2], items[-7]]
    rows = [{"prompt": f"Answer this. {one.text.upper()}\n", "answer": one.answer or "So it is."} for one in planted]
    rows += [{"prompt": f"{place} is a", "answer": "dog"} for place in range(4)]
    path = tmp_path / "told.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = [{"kind": "instructions", "path": str(path), "name": "told"}]
    study = asked(folder, models=[str(folder / "target")], data=data, general=[config.model_dump()])
    lessons = plan_finetune(study, settings=settings).lessons["told"]
    assert [one.prompt for one in lessons.exchanges] == [f"{place} is a" for place in range(4)]
    assert lessons.left_out == 2
    unasked = lessons_of(InstructionData(path=str(path)), settings=settings, seed=0)
    assert unasked.left_out == 0

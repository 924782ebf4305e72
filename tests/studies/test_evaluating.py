"""One model on some tasks, as it is and steered."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.steering.examples import make_vector
from tests.studies.small_studies import SETTINGS, pets, rows_in
from trustrace.core.errors import ConfigError, DataError, ModelError, RunError, TrustraceError, UnsafeFileError
from trustrace.core.measurements import Estimate, Measurement
from trustrace.core.statements import Statements
from trustrace.datasets import catalog
from trustrace.interventions.edits import add
from trustrace.interventions.positions import Positions
from trustrace.interventions.steering import Steering
from trustrace.models import tiny
from trustrace.models.fingerprints import tokenizer_fingerprint
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.runs.table import as_table, write_table
from trustrace.steering import files
from trustrace.steering.vectors import Scales, SteeringVector
from trustrace.studies.abilities import TaskConfig, open_task
from trustrace.studies.apart import asked_by, without_asked
from trustrace.studies.evaluating import REFERENCE_TEXTS, SteerOptions, evaluate_model, overview, remarks, steer_options
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_named
from trustrace.studies.status import read_status
from trustrace.studies.vectors import residual_norms

READING = TaskConfig(name="world_text", limit=3)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("target") / "target", "llama", seed=9)


@pytest.fixture(scope="module")
def model(target: Path) -> LanguageModel:
    return loaded(target)


def loaded(folder: Path, **how: Any) -> LanguageModel:
    source = open_source(str(folder))
    return load(source, source.pin(source.checkpoints()[-1]), device="cpu", **how)


def vector(model: LanguageModel, **changes: Any) -> SteeringVector:
    drawn = torch.randn(32, generator=torch.Generator().manual_seed(1))
    fitting = {
        "n_blocks": 3,
        "model_type": "llama",
        "tokenizer": tokenizer_fingerprint(model.tokenizer),
        "dataset": "robustness/world",
        "seed": 0,
    }
    return make_vector(drawn, **{**fitting, **changes})


def saved(folder: Path, model: LanguageModel, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    files.save([vector(model, **changes)], folder / "vector.safetensors")
    return folder / "vector.safetensors"


@pytest.fixture(scope="module")
def steering(model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> SteerOptions:
    return SteerOptions(vector=saved(tmp_path_factory.mktemp("vector"), model), alphas=(-1.0, 2.0))


@pytest.fixture(scope="module")
def run(
    model: LanguageModel, steering: SteerOptions, prose: TaskConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    evaluate_model(model, [READING, prose], out=out, settings=SETTINGS, steering=steering)
    return out


@pytest.fixture(scope="module")
def prose(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    path = tmp_path_factory.mktemp("prose") / "prose.txt"
    path.write_text("It was a long way to the sea, and nobody spoke. " * 24)
    return TaskConfig(name="text", path=str(path))


def stamps(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in run.glob("units/*/*")}


def of(rows: list[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def test_the_plain_model_and_each_strength_have_their_numbers_and_changes(
    model: LanguageModel, steering: SteerOptions, tmp_path: Path
) -> None:
    table = evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=steering)
    rows = rows_in(table.parent)
    plain, back, forth = of(rows, quantity="perplexity")
    assert [row["alpha"] for row in (plain, back, forth)] == [0.0, -1.0, 2.0]
    assert (plain["vector"], plain["site"], plain["position"]) == ("", "", "")
    assert (forth["vector"], forth["site"]) == (vector(model).key, "block_1")
    assert forth["position"] == "prompt_last+generated"
    changes = of(rows, quantity="perplexity_change")
    expected = [row["value"] - plain["value"] for row in (back, forth)]
    assert [row["value"] for row in changes] == pytest.approx(expected)
    assert len(of(rows, quantity="perplexity_change_p")) == 2
    assert {row["dataset"] for row in rows} == {"world_text/test"}
    (written,) = table.parent.glob("units/*/samples.jsonl")
    samples = [json.loads(line) for line in written.read_text("utf-8").splitlines()]
    assert [sample["alpha"] for sample in samples] == [0.0] * 3 + [-1.0] * 3 + [2.0] * 3


def test_a_strength_is_a_multiple_of_the_vector_s_scale(
    model: LanguageModel, steering: SteerOptions, tmp_path: Path
) -> None:
    from trustrace.core.progress import silent
    from trustrace.evaluation.world_text import WorldText

    one = replace(steering, alphas=(0.5,), unit="distance", positions=Positions.parse("all"), site="block_0")
    rows = rows_in(evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=one).parent)
    raw = vector(model)
    by_hand = Steering.of([add("block_0", raw.direction, alpha=0.5 * raw.scales.distance)], positions=one.positions)
    with by_hand.on(model) as steered:
        (outcome,) = WorldText(limit=3, half="test").run(steered, batch_tokens=None, progress=silent)
    losses, counts = outcome.graded[0].values.T
    (found,) = of(rows, quantity="perplexity", alpha=0.5)
    assert found["value"] == pytest.approx(np.exp(losses.sum() / counts.sum()), rel=1e-5)
    assert (found["site"], found["position"]) == ("block_0", "all")


def test_a_second_time_nothing_is_done_and_the_table_is_the_same(
    model: LanguageModel, steering: SteerOptions, prose: TaskConfig, run: Path
) -> None:
    before, table = stamps(run), (run / "measurements.parquet").read_bytes()
    other = Settings(device="cpu", batch_tokens=500)
    evaluate_model(model, [READING, prose], out=run, settings=other, steering=steering)
    assert stamps(run) == before
    assert (run / "measurements.parquet").read_bytes() == table


@pytest.mark.parametrize(
    "change",
    ["alphas", "unit", "site", "positions", "vector", "half", "protocol", "seed", "dtype", "model", "no vector"],
)
def test_whatever_changes_an_answer_makes_it_another_evaluation(
    model: LanguageModel, target: Path, steering: SteerOptions, run: Path, tmp_path: Path, change: str
) -> None:
    used, options, how = model, steering, {}
    match change:
        case "alphas":
            options = replace(steering, alphas=(-1.0, 2.5))
        case "unit":
            options = replace(steering, unit="one")
        case "site":
            options = replace(steering, site="block_2")
        case "positions":
            options = replace(steering, positions=Positions.parse("generated"))
        case "vector":
            raw = vector(model).direction.flip(0)
            files.save([replace(vector(model), direction=raw)], tmp_path / "v.safetensors")
            options = replace(steering, vector=tmp_path / "v.safetensors")
        case "half":
            how = {"half": "development"}
        case "protocol":
            how = {"protocol": "published"}
        case "seed":
            how, options = {"seed": 1}, replace(steering, vector=saved(tmp_path / "v", model, seed=1))
        case "dtype":
            used = loaded(target, dtype="bfloat16")
        case "model":
            tiny.save(tmp_path / "target", "llama", seed=10)
            used = loaded(tmp_path / "target")
    before = stamps(run)
    with pytest.raises(RunError, match="another study") as refused:
        evaluate_model(
            used,
            [READING],
            out=run,
            settings=SETTINGS,
            steering=None if change == "no vector" else options,
            **how,  # type: ignore[arg-type]
        )
    assert refused.value.exit_code == 3
    assert stamps(run) == before


def test_one_task_fails_alone_and_is_tried_again_when_it_is_mended(model: LanguageModel, tmp_path: Path) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("")
    tasks = [TaskConfig(name="text", path=str(text)), READING]
    with pytest.raises(RunError, match=r"1 of 2 parts failed.*\n.*text\.txt") as failed:
        evaluate_model(model, tasks, out=out, settings=SETTINGS)
    assert failed.value.exit_code == 3
    assert {row["dataset"] for row in rows_in(out)} == {"world_text/test"}
    before = stamps(out)
    text.write_text("Something to read after all. " * 4)
    rows = rows_in(evaluate_model(model, tasks, out=out, settings=SETTINGS).parent)
    assert [row["dataset"] for row in rows] == ["text:text.txt/test", "world_text/test"]
    assert before.items() <= stamps(out).items()


def test_prompts_beyond_the_context_fail_their_task_and_no_other(target: Path, tmp_path: Path, data_dir: Path) -> None:
    settings = Settings(device="cpu", data_dir=data_dir)
    tasks = [TaskConfig(name="truthfulqa_mc1", limit=2), TaskConfig(name="lambada", limit=2)]
    with pytest.raises(RunError, match="takes .* tokens, but target@main reads 512 at most"):  # noqa: RUF043
        evaluate_model(loaded(target), tasks, out=tmp_path / "run", settings=settings)
    assert {row["dataset"] for row in rows_in(tmp_path / "run")} == {"lambada/test"}


@pytest.fixture(scope="module")
def phrases(data_dir: Path) -> Statements:
    return catalog.load("robustness/world", seed=0, data_dir=data_dir)


def test_a_strength_in_the_target_s_norm_is_a_share_of_it(
    model: LanguageModel, steering: SteerOptions, phrases: Statements, tmp_path: Path, data_dir: Path
) -> None:
    settings = Settings(device="cpu", data_dir=data_dir)
    made = saved(tmp_path / "v", model, fingerprint=phrases.fingerprint)
    one = replace(steering, vector=made, alphas=(0.25,), unit="target_norm")
    found = rows_in(evaluate_model(model, [READING], out=tmp_path / "a", settings=settings, steering=one).parent)
    # Half the strength of a vector twice as long in its own units is the same: its own scales do not matter.
    scales = Scales(distance=9.0, within_std=9.0, projection_std=9.0, residual_norm=9.0)
    other = replace(one, vector=saved(tmp_path / "w", model, fingerprint=phrases.fingerprint, scales=scales))
    again = rows_in(evaluate_model(model, [READING], out=tmp_path / "b", settings=settings, steering=other).parent)
    assert [[row["alpha"], row["quantity"], row["value"]] for row in found] == [
        [row["alpha"], row["quantity"], row["value"]] for row in again
    ]


@pytest.mark.parametrize("position", ["last", "mean"])
def test_the_target_s_norm_is_measured_where_the_vector_was_read(
    model: LanguageModel, phrases: Statements, tmp_path: Path, data_dir: Path, position: Any
) -> None:
    settings = Settings(device="cpu", data_dir=data_dir)
    made = saved(tmp_path / "v", model, fingerprint=phrases.fingerprint, position=position)
    share = SteerOptions(vector=made, alphas=(0.25,), unit="target_norm")
    shared = rows_in(evaluate_model(model, [READING], out=tmp_path / "a", settings=settings, steering=share).parent)
    rows = zip(phrases.texts, phrases.splits, strict=True)
    texts = [text for text, split in rows if split != "test"][:REFERENCE_TEXTS]
    norm = residual_norms(model, texts, sites=["block_1"], settings=settings, position=position)["block_1"]
    raw = SteerOptions(vector=made, alphas=(0.25 * norm,), unit="one")
    lengths = rows_in(evaluate_model(model, [READING], out=tmp_path / "b", settings=settings, steering=raw).parent)
    expected = [row["value"] for row in lengths]
    assert [row["value"] for row in shared] == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {}, "the fingerprints differ"),
        ({"dataset": "mine"}, {}, "name its statements with --dataset or --pairs"),
        ({"dataset": "mine"}, {"dataset": "robustness/defined"}, "was not made of robustness/defined"),
        ({"position": "last_of_span"}, {"right": True}, "was read at 'last_of_span'"),
    ],
)
def test_a_norm_on_other_statements_than_the_vector_s_is_refused(
    model: LanguageModel,
    phrases: Statements,
    tmp_path: Path,
    data_dir: Path,
    changes: dict[str, Any],
    options: dict[str, Any],
    message: str,
) -> None:
    right = options.pop("right", False)
    made = saved(tmp_path / "v", model, **changes, **({"fingerprint": phrases.fingerprint} if right else {}))
    asked = SteerOptions(vector=made, alphas=(1.0,), unit="target_norm", **options)
    settings = Settings(device="cpu", data_dir=data_dir)
    with pytest.raises(ConfigError, match=message):
        evaluate_model(model, [READING], out=tmp_path / "run", settings=settings, steering=asked)
    assert not (tmp_path / "run").exists()


def test_the_statements_of_a_vector_of_one_s_own_are_named(model: LanguageModel, tmp_path: Path) -> None:
    statements = load_named(str(pets(tmp_path / "pets.csv")), settings=SETTINGS, seed=0)
    made = saved(tmp_path / "v", model, dataset="pets", fingerprint=statements.fingerprint)
    asked = SteerOptions(vector=made, alphas=(1.0,), unit="target_norm", dataset=str(tmp_path / "pets.csv"))
    assert evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=asked).is_file()


class Published:
    """The paper's own questions, half of which are development rows of the set that vectors are made of."""

    task = TaskConfig(name="truthfulqa_mc1", shots=0, limit=12)

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(device="cpu", data_dir=data_dir)
        self.whole = catalog.load("reliability/defined", seed=0, data_dir=data_dir)
        opened = open_task(self.task, half="test", settings=self.settings, seed=0, protocol="published")
        self.apart = without_asked(self.whole, asked_by(opened))

    def evaluated(self, model: LanguageModel, folder: Path, made: Statements, **how: Any) -> Path:
        path = saved(folder / "v", model, dataset="reliability/defined", fingerprint=made.fingerprint)
        tasks = how.pop("tasks", [self.task])
        options = SteerOptions(vector=path, alphas=(1.0,))
        asked = {"protocol": "published", "steering": options, "settings": self.settings, **how}
        return evaluate_model(model, tasks, out=folder / "run", **asked)


@pytest.fixture(scope="module")
def published(data_dir: Path) -> Published:
    return Published(data_dir)


def test_a_vector_is_not_asked_the_paper_s_questions_that_it_was_made_of(
    model: LanguageModel, published: Published, tmp_path: Path
) -> None:
    assert len(published.apart) < len(published.whole)
    with pytest.raises(
        ConfigError, match=r"of the 12 texts that truthfulqa_mc1 asks of its test half, such as"
    ) as refused:
        published.evaluated(model, tmp_path, published.whole)
    assert "`trustrace steer`" in str(refused.value)
    assert "without them" in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_vector_of_the_paper_s_set_is_not_asked_our_own_halves_of_it_either(
    model: LanguageModel, tmp_path: Path, data_dir: Path
) -> None:
    statements = catalog.load("privacy/published", seed=0, data_dir=data_dir)
    path = saved(tmp_path / "v", model, dataset="privacy/published", fingerprint=statements.fingerprint)
    with pytest.raises(ConfigError, match="of the 1162 texts that confaide asks of its test half"):
        evaluate_model(
            model,
            [TaskConfig(name="confaide")],
            out=tmp_path / "run",
            settings=Settings(device="cpu", data_dir=data_dir),
            steering=SteerOptions(vector=path, alphas=(1.0,)),
        )


def test_a_vector_of_unknown_statements_is_not_asked_them_either(
    model: LanguageModel, published: Published, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="the fingerprints differ"):
        published.evaluated(model, tmp_path, published.whole.take(range(40)))


@pytest.mark.parametrize(
    ("made", "how"),
    [
        ("apart", {}),
        ("whole", {"half": "development"}),
        ("whole", {"protocol": "rigorous"}),
        ("whole", {"tasks": [READING]}),
    ],
)
def test_a_vector_that_has_seen_nothing_of_what_is_asked_is_evaluated(
    model: LanguageModel, published: Published, tmp_path: Path, made: str, how: dict[str, Any]
) -> None:
    assert published.evaluated(model, tmp_path, getattr(published, made), **how).is_file()


def test_a_vector_of_another_split_is_not_judged_on_the_test_half(model: LanguageModel, tmp_path: Path) -> None:
    other = SteerOptions(vector=saved(tmp_path / "v", model, seed=1), alphas=(1.0,))
    with pytest.raises(ConfigError, match="evaluate with --seed 1"):
        evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=other)
    assert not (tmp_path / "run").exists()
    evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=other, half="development")


def test_controls_are_marked(model: LanguageModel, tmp_path: Path) -> None:
    random = SteerOptions(vector=saved(tmp_path / "v", model, kind="random"), alphas=(1.0,))
    rows = rows_in(evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=random).parent)
    assert [(row["alpha"], row["role"]) for row in rows] == [(0.0, "measured"), *[(1.0, "control")] * 3]


def test_a_strength_beyond_all_numbers_gives_no_number_and_says_so(
    model: LanguageModel, steering: SteerOptions, tmp_path: Path
) -> None:
    huge = replace(steering, alphas=(1e38,), unit="residual_norm")
    rows = rows_in(evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=huge).parent)
    (found,) = of(rows, quantity="perplexity", alpha=1e38)
    assert math.isnan(found["value"])
    assert "3 of 3 items undefined" in found["note"]


def test_a_vector_may_act_at_another_layer_than_its_own_even_in_a_shallower_model(tmp_path: Path) -> None:
    shallow = LanguageModel.of(tiny.build("llama", n_blocks=2), tiny.tokenizer(adds_bos=True))
    path = saved(tmp_path / "v", shallow, site="block_7", n_blocks=9)
    options = SteerOptions(vector=path, alphas=(1.0,), site="block_1", allow=("architecture",))
    rows = rows_in(evaluate_model(shallow, [READING], out=tmp_path / "run", settings=SETTINGS, steering=options).parent)
    assert {row["site"] for row in rows} == {"", "block_1"}


def wrong_vectors(tmp_path: Path, model: LanguageModel) -> list[tuple[dict[str, Any], type[TrustraceError], str]]:
    raw = torch.randn(64, generator=torch.Generator().manual_seed(1))
    wide = make_vector(raw, n_blocks=3, tokenizer="")
    files.save([wide], tmp_path / "wide.safetensors")
    files.save([vector(model), vector(model, site="block_0")], tmp_path / "two.safetensors")
    files.save([vector(model), vector(model, site="block_0")], tmp_path / "folder")
    (tmp_path / "v.pt").write_bytes(b"\x80\x04.")
    (tmp_path / "disguised.safetensors").write_bytes(b"PK\x03\x04rest")
    (tmp_path / "empty").mkdir()
    flat = Scales(distance=0.0, within_std=math.nan, projection_std=1.0, residual_norm=1.0)
    scaled = saved(tmp_path / "flat", model, scales=flat)
    fine = saved(tmp_path / "fine", model)
    return [
        ({"vector": tmp_path / "wide.safetensors"}, ModelError, "it is 64 wide, the model 32"),
        ({"vector": saved(tmp_path / "a", model, model_type="gpt2")}, ModelError, "architecture 'gpt2'"),
        ({"vector": saved(tmp_path / "b", model, n_blocks=12)}, ModelError, "12 blocks, this one has 3"),
        ({"vector": saved(tmp_path / "c", model, tokenizer="x")}, ModelError, "another vocabulary"),
        ({"vector": saved(tmp_path / "d", model, site="block_3")}, ModelError, "the model has no block_3"),
        ({"vector": fine, "site": "block_99"}, ModelError, "the model has no block_99"),
        ({"vector": tmp_path / "two.safetensors"}, ConfigError, "holds 2 vectors"),
        ({"vector": tmp_path / "folder"}, ConfigError, "holds 2 vectors"),
        ({"vector": tmp_path / "empty"}, DataError, "holds no vector"),
        ({"vector": tmp_path / "absent.safetensors"}, DataError, "does not exist"),
        ({"vector": tmp_path / "v.pt"}, UnsafeFileError, "may hold a pickle"),
        ({"vector": tmp_path / "disguised.safetensors"}, UnsafeFileError, "may hold a pickle"),
        ({"vector": scaled, "unit": "distance"}, TrustraceError, "its distance is 0.0"),
        ({"vector": scaled, "unit": "within_std"}, TrustraceError, "its within_std is nan"),
        ({"vector": fine, "alphas": (math.nan,)}, ConfigError, "alpha is nan"),
        ({"vector": fine, "alphas": (math.inf,)}, ConfigError, "alpha is inf"),
    ]


def test_a_vector_that_cannot_act_here_is_refused_before_anything_is_written(
    model: LanguageModel, tmp_path: Path
) -> None:
    for changes, kind, message in wrong_vectors(tmp_path, model):
        options = SteerOptions(**{"alphas": (1.0,), **changes})
        with pytest.raises(kind) as refused:
            evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=options)
        assert message in str(refused.value)
        assert refused.value.exit_code == 2
        assert not (tmp_path / "run").exists()


def test_what_is_allowed_to_differ_may_differ(model: LanguageModel, tmp_path: Path) -> None:
    path = saved(tmp_path / "v", model, model_type="mistral", tokenizer="x")
    options = SteerOptions(vector=path, alphas=(1.0,), allow=("architecture", "tokenizer"))
    evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS, steering=options)
    assert (tmp_path / "run" / "measurements.parquet").is_file()


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "give at least one"),
        ([READING, READING], "no two of one name"),
        ([READING, TaskConfig(name="world_text", limit=2)], "their rows would look alike"),
        ([TaskConfig(name="text", path="gone.txt")], "gone.txt"),
        ([TaskConfig(name="toxigen", classifier="gone")], "no toxicity classifier"),
        ([TaskConfig(name="truthfulqa", truth=("gone",))], "is no judge"),
    ],
)
def test_tasks_that_cannot_be_asked_are_refused_before_anything_is_written(
    model: LanguageModel, tmp_path: Path, tasks: list[TaskConfig], message: str
) -> None:
    with pytest.raises(TrustraceError, match=message) as refused:
        evaluate_model(model, tasks, out=tmp_path / "run", settings=SETTINGS)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["lambada", "sst2", "mmlu", "world_privacy"])
def test_what_the_first_token_decides_is_not_asked_where_it_is_not_steered(
    model: LanguageModel, steering: SteerOptions, tmp_path: Path, name: Any
) -> None:
    late = replace(steering, positions=Positions.parse("generated"))
    with pytest.raises(ConfigError, match=f"{name} is decided by the first token.* give --positions prompt_last"):
        evaluate_model(model, [READING, TaskConfig(name=name)], out=tmp_path / "run", settings=SETTINGS, steering=late)
    assert not (tmp_path / "run").exists()


def test_no_last_word_of_one_token_is_steered_by_generated_positions_but_by_the_default_ones(
    model: LanguageModel,
) -> None:
    from trustrace.models.likelihood import likelihoods

    pairs = [(tuple(range(5, 20)), (7,)), (tuple(range(5, 20)), (7, 8))]
    changed = {}
    for rule in ("generated", "prompt_last+generated"):
        push = Steering.of([add("block_0", vector(model).direction, alpha=5.0)], positions=Positions.parse(rule))
        with push.on(model) as steered:
            (scored,) = likelihoods(steered, pairs)
        (plain,) = likelihoods(model, pairs)
        changed[rule] = [one.total != other.total for one, other in zip(scored, plain, strict=True)]
    assert changed == {"generated": [False, True], "prompt_last+generated": [True, True]}


def options(**changes: Any) -> SteerOptions | None:
    values: dict[str, Any] = {
        "vector": Path("v.safetensors"), "alphas": (1.0,), "unit": "one", "layer": None, "positions": "all", "allow": ()
    }  # fmt: skip
    return steer_options(**values | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vector": None}, "go together"),
        ({"alphas": ()}, "go together"),
        ({"alphas": (math.nan,)}, "must be finite"),
        ({"alphas": (1.0, -math.inf)}, "must be finite"),
        ({"alphas": (0.0,)}, "differ from 0"),
        ({"alphas": (1.0, 1.0)}, "from each other"),
        ({"positions": "here"}, "unknown positions 'here'"),
        ({"dataset": "a.csv", "pairs": Path("b.jsonl")}, "not of both"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options(**changes)


def test_options_say_where_and_how() -> None:
    assert options(vector=None, alphas=()) is None
    found = options(layer=4, positions="window:-4:", alphas=(-1.0, 1.0))
    assert found
    assert (found.site, str(found.positions), found.alphas) == ("block_4", "window:-4:", (-1.0, 1.0))
    default = options()
    assert default
    assert default.site is None


def test_the_overview_puts_a_p_value_beside_its_change_and_remarks_are_said_once(run: Path) -> None:
    table = run / "measurements.parquet"
    shown = overview(table)
    rows = rows_in(run)
    assert not [line for line in shown if line["quantity"].endswith("_p")]
    for line in shown:
        assert bool(line["p"]) == line["quantity"].endswith("_change")
    p_values = [row["value"] for row in of(rows, quantity="perplexity_change_p")]
    assert [line["p"] for line in shown if line["p"]] == [f"{value:.2g}" for value in p_values]
    assert len({line.partition(": ")[2] for line in remarks(table)}) == len(remarks(table)) > 0


def test_a_remark_names_every_number_that_it_is_about(tmp_path: Path) -> None:
    def row(dataset: str, quantity: str, note: str) -> Measurement:
        estimate = Estimate(quantity=quantity, method="m", value=0.5, n=2, n_groups=2, note=note)
        return Measurement.of(estimate, dataset=dataset, protocol="rigorous", seed=0)

    rows = [
        row("one/test", "accuracy", "two left out"),
        row("one/test", "auroc", "two left out"),
        row("one/test", "auroc_change", "two left out"),
        row("one/test", "auroc_change_p", "two left out"),
        row("one/test", "loss", "in nats"),
        row("one/test", "plain", ""),
        row("other/test", "accuracy", "two left out"),
    ]
    write_table(as_table(rows), tmp_path / "t.parquet")
    assert remarks(tmp_path / "t.parquet") == [
        "one/test, accuracy; one/test, auroc; other/test, accuracy: two left out",
        "one/test, loss: in nats",
    ]


def test_the_table_holds_what_was_asked_on_other_days_too(
    model: LanguageModel, prose: TaskConfig, tmp_path: Path
) -> None:
    out, more = tmp_path / "run", READING.model_copy(update={"limit": 4})
    evaluate_model(model, [READING], out=out, settings=SETTINGS)
    before = stamps(out)
    evaluate_model(model, [prose], out=out, settings=SETTINGS)
    assert before.items() <= stamps(out).items()
    assert list(dict.fromkeys(row["dataset"] for row in rows_in(out))) == ["world_text/test", "text:prose.txt/test"]
    whole = (out / "measurements.parquet").read_bytes()
    evaluate_model(model, [READING], out=out, settings=SETTINGS)
    assert (out / "measurements.parquet").read_bytes() == whole
    state = read_status(out)
    assert (state.name, state.finished, state.total) == (f"evaluation of {model.checkpoint.key}", 2, 2)
    # Asked in another way it takes its place: two rows of one name would look alike.
    evaluate_model(model, [more], out=out, settings=SETTINGS)
    rows = of(rows_in(out), quantity="perplexity")
    assert [row["dataset"] for row in rows] == ["world_text/test", "text:prose.txt/test"]
    assert rows[0]["n"] == 4


def test_the_status_of_an_evaluation_says_what_failed(model: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("")
    empty = TaskConfig(name="text", path=str(tmp_path / "text.txt"))
    with pytest.raises(RunError, match="1 of 2 parts failed"):
        evaluate_model(model, [empty, READING], out=tmp_path / "run", settings=SETTINGS)
    state = read_status(tmp_path / "run")
    assert (state.finished, state.total) == (1, 2)
    assert [failure["unit"] for failure in state.failures] == [f"{model.checkpoint.key}/text:text.txt"]


def test_a_run_of_somebody_else_is_refused(model: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("Dear")
    with pytest.raises(RunError, match=r"holds other files \(letter\.txt\)"):
        evaluate_model(model, [READING], out=tmp_path / "run", settings=SETTINGS)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["letter.txt"]


def test_the_model_itself_is_as_it_was(model: LanguageModel, target: Path, run: Path) -> None:
    tokens = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        torch.testing.assert_close(model.module(tokens).logits, loaded(target).module(tokens).logits, rtol=0, atol=0)

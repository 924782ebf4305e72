"""What a model can be asked to do, by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trustrace.core.errors import ConfigError, DataError, MissingExtraError, TrustraceError, UnsafeFileError
from trustrace.core.measurements import Protocol
from trustrace.core.progress import silent
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.evaluation.judges.language_model import LanguageModelJudge
from trustrace.evaluation.toxicity import files as toxicity_files
from trustrace.evaluation.toxicity import linear
from trustrace.evaluation.toxigen import ToxiGen
from trustrace.evaluation.truthfulqa import TruthfulQAChoice, TruthfulQAGeneration
from trustrace.evaluation.world import WorldReplies
from trustrace.evaluation.world_text import WorldText
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.studies.abilities import Half, TaskConfig, open_task, parse_tasks
from trustrace.studies.settings import Settings
from trustrace.studies.task_facts import PERPLEXITIES, WITHOUT_HALVES, aims_of, contents_of, inputs_of

SETTINGS = Settings(device="cpu")
HALVES: tuple[Half, ...] = ("development", "test")


@pytest.fixture(scope="module")
def settings(data_dir: Path) -> Settings:
    return Settings(device="cpu", data_dir=data_dir)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model that knows nothing."""
    return tiny.save(tmp_path_factory.mktemp("judge"), "llama", d_model=8)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear classifier of rude words."""
    lines = [f"{'vile rude nasty' if row % 2 else 'kind warm gentle'} words number {row}" for row in range(120)]
    statements = Statements(
        name="rude",
        dimension="toxicity",
        texts=tuple(lines),
        labels=tuple(row % 2 for row in range(120)),
        groups=tuple(f"g{row // 2}" for row in range(120)),
        splits=("train",) * 80 + ("validation",) * 20 + ("test",) * 20,
        meaning=LabelMeaning(one="rude", zero="kind", desired=0),
        source=Source(title="made up", licence="CC0-1.0"),
    )
    return toxicity_files.write_classifier(
        linear.train(statements, seed=0), tmp_path_factory.mktemp("toxicity") / "classifier"
    )


def configured(name: str, judge: Path, classifier: Path) -> TaskConfig:
    extra: dict[str, Any] = {}
    if name.startswith("truthfulqa"):
        extra["shots"] = 0
    if name == "truthfulqa":
        extra |= {"truth": ["overlap:bleu", f"hf:{judge}"], "info": [f"hf:{judge}"]}
    if name == "toxigen":
        extra["classifier"] = str(classifier)
    if name == "text":
        extra["path"] = str(classifier / "classifier.json")
    return TaskConfig(name=name, limit=3, **extra)  # type: ignore[arg-type]


ASKED = ("truthfulqa", "toxigen", "confaide", "sst2", "lambada", "lambada_text", "text")


@pytest.mark.parametrize(
    ("name", "protocol"), [*((name, "rigorous") for name in ASKED), ("stereoset", "published"), ("sst2", "published")]
)
def test_a_task_gives_on_both_halves_what_can_be_aimed_at(
    name: str, protocol: Protocol, settings: Settings, judge: Path, classifier: Path
) -> None:
    model = LanguageModel.of(tiny.build("bloom", n_blocks=1), tiny.tokenizer())
    config = configured(name, judge, classifier)
    given = []
    for half in HALVES:
        task = open_task(config, half=half, settings=settings, seed=0, protocol=protocol)
        (outcome,) = task.run(model, batch_tokens=None, progress=silent)
        given.append({graded.quantity for graded in outcome.graded if graded.better != "neither"})
    if name in WITHOUT_HALVES:
        assert aims_of(config, protocol) == ()
        return
    # How degenerate an answer is, is measured beside its aim.
    assert set(aims_of(config, protocol)) == (given[0] & given[1]) - {"repeated_4", "longest_run"}
    assert ("perplexity" in given[0]) == (name in PERPLEXITIES)


def test_tasks_of_the_controlled_world_give_what_can_be_aimed_at() -> None:
    model = LanguageModel.of(tiny.build("bloom", n_blocks=1), tiny.tokenizer())
    for name in ("world_text", "world_privacy"):
        config = TaskConfig(name=name, limit=2)  # type: ignore[arg-type]
        task = open_task(config, half="test", settings=SETTINGS, seed=0)
        (outcome,) = task.run(model, batch_tokens=None, progress=silent)
        assert set(aims_of(config, "rigorous")) == {one.quantity for one in outcome.graded if one.better != "neither"}


@pytest.mark.parametrize("protocol", ["rigorous", "published"])
def test_what_is_judged_on_is_not_seen_before(
    protocol: Protocol, settings: Settings, classifier: Path, judge: Path
) -> None:
    for name in ("truthfulqa_mc2", "toxigen", "confaide", "stereoset") if protocol == "published" else ("stereoset",):
        config = configured(name, judge, classifier).model_copy(update={"limit": None})
        seen = []
        groups = []
        for half in HALVES:
            task: Any = open_task(config, half=half, settings=settings, seed=0, protocol=protocol)
            items = getattr(task, "questions", None) or getattr(task, "prompts", None)
            seen.append(
                {" ".join(text.lower().split()) for text in ([one.text for one in items] if items else task.texts)}
            )
            groups.append({one.group for one in items} if items else set(task.groups))
        assert not seen[0] & seen[1], name
        assert min(map(len, seen)) > 90
        # Under `published` the paper's rows may have groups of their own.
        assert protocol == "published" or not groups[0] & groups[1]


def test_a_limit_draws_by_the_seed(settings: Settings) -> None:
    def asked(seed: int, limit: int | None) -> tuple[str, ...]:
        config = TaskConfig(name="truthfulqa_mc1", limit=limit)
        task = open_task(config, half="test", settings=settings, seed=seed)
        assert isinstance(task, TruthfulQAChoice)
        return tuple(question.text for question in task.questions)

    seven = asked(0, 7)
    assert len(seven) == 7
    assert set(seven) < set(asked(0, None))
    assert seven != asked(1, 7)


def test_judges_and_classifiers_are_those_that_are_named(settings: Settings, judge: Path, classifier: Path) -> None:
    config = configured("truthfulqa", judge, classifier)
    task = open_task(config, half="test", settings=settings, seed=0)
    assert isinstance(task, TruthfulQAGeneration)
    assert [(one.aspect, type(one).__name__) for one in task.judges] == [
        ("truth", "OverlapJudge"),
        ("truth", "LanguageModelJudge"),
        ("info", "LanguageModelJudge"),
    ]
    assert isinstance(task.judges[1], LanguageModelJudge)
    assert task.judges[1].model.d_model == 8
    assert task.shots == 0
    toxic = open_task(configured("toxigen", judge, classifier), half="test", settings=settings, seed=0)
    assert isinstance(toxic, ToxiGen)
    rude = toxic.classifier.probabilities(["vile rude nasty words", "kind warm gentle words"], progress=silent)
    assert np.asarray(rude)[0] > 0.5 > np.asarray(rude)[1]


def test_an_endpoint_s_judge_is_asked_as_the_task_says(settings: Settings) -> None:
    for mode in ("chat", "completions"):
        config = TaskConfig(name="truthfulqa", truth=("endpoint:http://127.0.0.1:9/v1#m",), mode=mode, limit=1)  # type: ignore[arg-type]
        task = open_task(config, half="test", settings=settings, seed=0)
        assert isinstance(task, TruthfulQAGeneration)
        assert task.judges[0].name == f"m ({mode})"


def test_a_command_line_names_tasks_one_by_one_or_with_commas() -> None:
    found = parse_tasks(["lambada, sst2", "text:some/where.txt", ""], limit=4, truth=(), classifier=None, shots=6)
    assert [one.name for one in found] == ["lambada", "sst2", "text"]
    assert [one.title for one in found] == ["lambada", "sst2", "text:where.txt"]
    assert {one.limit for one in found} == {4}
    assert found[2].path == "some/where.txt"
    # Each task takes the options that it knows.
    truth, choice, toxic, world = parse_tasks(
        ["truthfulqa", "truthfulqa_mc1", "toxigen", "world_text"],
        truth=("j",),
        mode="completions",
        classifier="c",
        shots=2,
        world=3,
    )
    assert (truth.truth, truth.mode, truth.shots, truth.classifier) == (("j",), "completions", 2, None)
    assert (choice.truth, choice.shots) == ((), 2)
    assert (toxic.classifier, toxic.shots, toxic.world) == ("c", 6, 0)
    assert world.world == 3


@pytest.mark.parametrize(
    ("tasks", "option", "takers"),
    [
        (["truthfulqa_mc1"], {"truth": ("j",)}, "truthfulqa"),
        (["lambada,sst2"], {"classifier": "c"}, "toxigen"),
        (["toxigen"], {"shots": 2, "classifier": "c"}, "truthfulqa, truthfulqa_mc1, truthfulqa_mc2"),
        (["lambada"], {"mode": "completions"}, "truthfulqa"),
        (["lambada"], {"world": 1}, "world_reliability, world_toxicity, world_privacy, world_fairness, world_text"),
    ],
)
def test_an_option_that_no_task_takes_is_told_with_the_tasks_that_would(
    tasks: list[str], option: dict[str, Any], takers: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_tasks(tasks, limit=3, **option)
    assert f"--{next(iter(option))} says nothing to " in str(refused.value)
    assert f"it is for {takers};" in str(refused.value)


def test_the_world_is_not_drawn_by_the_seed() -> None:
    """Another seed draws other claims about the same world; another world has other inhabitants."""

    def claims(world: int, seed: int, limit: int | None = None) -> tuple[str, ...]:
        config = TaskConfig(name="world_privacy", limit=limit, world=world)
        task = open_task(config, half="test", settings=SETTINGS, seed=seed)
        assert isinstance(task, WorldReplies)
        return tuple(claim.text for claim in task.claims)

    assert claims(0, 0) == claims(0, 1)
    assert claims(0, 0, 20) != claims(0, 1, 20)
    assert set(claims(0, 1, 20)) < set(claims(0, 0))
    assert not set(claims(0, 0)) & set(claims(1, 0))
    texts = [
        open_task(TaskConfig(name="world_text", world=one), half="test", settings=SETTINGS, seed=5) for one in (0, 1)
    ]
    assert [one.world for one in texts if isinstance(one, WorldText)] == [0, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no tasks"),
        (["", " , "], "no tasks"),
        (["lambda"], "no task 'lambda'; did you mean 'lambada'?"),
        (
            ["toxigen"],
            "toxigen needs `classifier`, who says what is toxic: a folder that 'trustrace toxicity train' wrote",
        ),
        (["text"], "text needs `path`"),
        (["text:"], "text needs `path`"),
        (["lambada:x.txt"], "lambada takes no `path`"),
        (["lambada,lambada"], "lambada is given twice"),
        (["sst2", "sst2"], "sst2 is given twice"),
    ],
)
def test_a_task_that_cannot_be_asked_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_tasks(given, limit=None, truth=(), classifier=None)
    assert message in str(refused.value)
    assert "TaskConfig" not in str(refused.value) or "takes no" in message


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"shots": 7}, {"shots": -1}, {"judge": "x"}, {"mode": "shout"}])
def test_options_of_no_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TaskConfig.read({"name": "truthfulqa", **wrong}, where="study.yaml")


def test_what_lies_in_a_place_is_part_of_what_is_asked(
    tmp_path: Path, settings: Settings, classifier: Path, judge: Path
) -> None:
    import shutil

    own, model, text = tmp_path / "classifier", tmp_path / "judge", tmp_path / "text.txt"
    shutil.copytree(classifier, own)
    shutil.copytree(judge, model)
    text.write_text("One text.")
    toxic = TaskConfig(name="toxigen", classifier=str(own))
    truth = TaskConfig(name="truthfulqa", truth=(f"hf:{model}", "overlap:bleu"), info=(f"hf:{model}",))
    prose = TaskConfig(name="text", path=str(text))
    before = [inputs_of(one, settings=settings) for one in (toxic, truth, prose)]
    assert before == [inputs_of(one, settings=settings) for one in (toxic, truth, prose)]
    # What a check found changes no answer, whatever else is in the folder may.
    (own / "check.json").write_text(
        '[{"quantity": "accuracy", "value": 0.9, "n": 5, "role": "measured"},'
        ' {"quantity": "auroc", "value": 0.9, "n": 5, "role": "measured"}]'
    )
    assert before == [inputs_of(one, settings=settings) for one in (toxic, truth, prose)]
    (own / "words.json").write_text("[]")
    tiny.save(model, "llama", seed=5, d_model=8)
    text.write_text("Another text.")
    after = [inputs_of(one, settings=settings) for one in (toxic, truth, prose)]
    assert all(one != other for one, other in zip(before, after, strict=True))
    contents = contents_of(truth, settings=settings)
    assert contents["truth overlap:bleu"] == ""
    assert contents[f"truth hf:{model}"] == contents[f"info hf:{model}"] != ""
    assert contents_of(TaskConfig(name="lambada"), settings=settings) == {}
    assert inputs_of(TaskConfig(name="lambada", limit=3), settings=settings)["limit"] == 3


def test_the_questions_of_a_benchmark_and_its_harness_are_part_of_what_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    from tests.datasets.test_general import write_article
    from trustrace.datasets import general

    monkeypatch.delenv("TRUSTRACE_DATA", raising=False)
    race, local = TaskConfig(name="race"), Settings(device="cpu", data_dir=tmp_path)
    hub = inputs_of(race, settings=SETTINGS)
    assert hub["contents"] == {"questions": "hub", "lm_eval": metadata.version("lm_eval")}
    for number in range(3):
        write_article(tmp_path / general.RACE_FOLDER, number)
    three = inputs_of(race, settings=local)
    assert three == inputs_of(race, settings=local) != hub
    monkeypatch.setenv("TRUSTRACE_DATA", str(tmp_path))
    assert inputs_of(race, settings=SETTINGS) == three
    write_article(tmp_path / general.RACE_FOLDER, 3)
    four = inputs_of(race, settings=local)
    assert four != three
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.1")
    assert inputs_of(race, settings=local)["contents"] == four["contents"] | {"lm_eval": "0.0.1"}

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(MissingExtraError, match=r"trustrace\[eval\]"):
        inputs_of(race, settings=local)


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        ({"name": "text", "path": "gone.txt"}, DataError, "gone.txt cannot be read"),
        ({"name": "text", "path": "."}, DataError, "cannot be read"),
        ({"name": "toxigen", "classifier": "gone"}, ConfigError, "'gone' is no toxicity classifier"),
        ({"name": "toxigen", "classifier": "hf:./gone"}, TrustraceError, "no such folder"),
        ({"name": "truthfulqa", "truth": ("gone",)}, ConfigError, "gone is no judge"),
        ({"name": "truthfulqa", "truth": ("gone.pkl",)}, UnsafeFileError, "may run code"),
        ({"name": "truthfulqa", "truth": ("hf:./gone",)}, TrustraceError, "no such folder"),
        ({"name": "truthfulqa", "info": ("overlap:bleu",)}, ConfigError, "overlap judges truth alone"),
        ({"name": "truthfulqa", "truth": ("endpoint:http://x/v1",)}, ConfigError, "names no model"),
    ],
)
def test_a_place_that_holds_nothing_of_use_is_told_before_anything_is_asked(
    config: dict[str, Any], kind: type[TrustraceError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as refused:
        contents_of(TaskConfig(**config), settings=SETTINGS)
    assert message in str(refused.value)
    assert refused.value.exit_code == 2

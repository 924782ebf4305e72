"""Every file under ``studies/``: a valid study, over checkpoints that exist."""

from pathlib import Path

import pytest
import yaml

from trustrace.core.config import Config
from trustrace.core.measurements import Protocol
from trustrace.core.sites import Site
from trustrace.models import shapes
from trustrace.models.known import known_checkpoints
from trustrace.models.selection import select
from trustrace.studies.config import CheckpointsConfig, TraceConfig
from trustrace.studies.files import PROTOCOLS, read_study, read_yaml
from trustrace.studies.foreseen.subjects import trained_shape
from trustrace.studies.paper.numbers import PAPER_ALPHA, PAPER_UNIT
from trustrace.studies.proxying.config import ProxyConfig
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.tuning.config import FinetuneConfig
from trustrace.training.config import PretrainConfig
from trustrace.training.schedule import learning_rate, save_steps

STUDIES = Path(__file__).parents[2] / "studies"
FILES = sorted(STUDIES.rglob("*.yaml"))
SUITES = ("pythia", "olmo", "own")
TWINS = {
    "probing": "probing",
    "early_trace": "early_trace",
    "steering_ckpt179": "steering_middle",
    "steering_amberchat": "steering_tuned",
    "figure4": "figure4",
    "figure5": "figure5",
    "universal_ckpt179": "universal_middle",
    "universal_amberchat": "universal_tuned",
    "finetune": "finetune",
    "proxy": "proxy",
}
"""What a study of Amber is called where another suite stands in its place."""
KINDS: dict[str, type[Config]] = {
    "trace": TraceConfig,
    "steer": SteerConfig,
    "finetune": FinetuneConfig,
    "proxy_tune": ProxyConfig,
}


def read_pretrain(path: Path) -> PretrainConfig:
    return PretrainConfig.read(read_yaml(path), where=str(path))


def parsed(path: Path, protocol: Protocol | None = None) -> Config:
    values = read_yaml(path, protocol=protocol)
    if "architecture" in values:
        return read_pretrain(path)
    return read_study(path, KINDS[values.get("study", "trace")], protocol=protocol)


def series_of(study: Config) -> CheckpointsConfig | None:
    match study:
        case TraceConfig():
            return study.checkpoints
        case SteerConfig():
            return study.sources
        case ProxyConfig():
            return study.bases
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(STUDIES)))
def test_a_study_file_is_valid_and_names_checkpoints_that_are_published(path: Path) -> None:
    for protocol in PROTOCOLS if {"published", "rigorous"} & set(plain(path)) else (None,):
        names_what_is_published(parsed(path, protocol))


def plain(path: Path) -> dict[str, object]:
    """The file as it stands there."""
    found: dict[str, object] = yaml.safe_load(path.read_text("utf-8"))
    return found


def names_what_is_published(study: Config) -> None:
    series = series_of(study)
    if series and (known := known_checkpoints(series.source)):
        assert select(known, series.how())
    if isinstance(study, SteerConfig | ProxyConfig):
        named = (
            study.targets if isinstance(study, SteerConfig) else (study.expert, study.anti_expert, *study.references)
        )
        for target in named:
            if target.revision and (listed := known_checkpoints(target.source)):
                assert target.revision in [one.revision for one in listed]


@pytest.mark.parametrize("path", sorted((STUDIES / "paper").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_study_of_the_paper_says_what_it_makes_and_how_it_is_run(path: Path) -> None:
    head = "".join(line for line in path.read_text("utf-8").splitlines(keepends=True) if line.startswith("#"))
    assert "trustrace" in head
    assert path.stem in head


@pytest.mark.parametrize("path", sorted((STUDIES / "paper").glob("*_published.yaml")), ids=lambda path: path.stem)
def test_what_is_published_has_a_rigorous_twin(path: Path) -> None:
    twin = path.with_name(path.name.replace("_published", "_rigorous"))
    ours, theirs = parsed(path), parsed(twin)
    assert type(ours) is type(theirs)
    assert series_of(ours) == series_of(theirs)


def depths(study: Config, blocks: int) -> list[float]:
    """Which share of its model's blocks each site of `study` has passed; none where it names no sites, or all."""
    named = getattr(study, "sites", "all")
    return [] if named == "all" else [Site.parse(name).depth / blocks for name in named]


def shape_of(suite: str) -> shapes.Shape:
    if suite == "own":
        return trained_shape(read_pretrain(STUDIES / "own/pretrain.yaml"))
    return shapes.of({"pythia": "EleutherAI/pythia-410m", "olmo": "allenai/OLMo-2-0425-1B"}[suite])


def own_words(study: Config) -> set[str]:
    """The keys in which a study may differ from that of Amber: whose models, which blocks, and what suits them."""
    models = {"checkpoints", "sources", "targets", "models", "bases", "expert", "anti_expert", "references"}
    return {"name", "sites", "dtype", "perplexity"} | (models & set(type(study).model_fields))


twin = pytest.mark.parametrize(
    ("suite", "paper", "protocol"),
    [(suite, paper, protocol) for suite in SUITES for paper in TWINS for protocol in PROTOCOLS],
)


def test_the_studies_of_amber_are_those_that_have_twins() -> None:
    stems = {path.stem for path in (STUDIES / "paper").glob("*.yaml")}
    # Pythia and OLMo publish their first steps; a run of one's own has a pre-training file of its own.
    assert stems - {"early_pretrain"} == {f"{paper}_{protocol}" for paper in TWINS for protocol in PROTOCOLS}


@twin
def test_every_study_of_the_paper_has_a_twin_that_differs_in_its_models_alone(
    suite: str, paper: str, protocol: Protocol
) -> None:
    ambers = parsed(STUDIES / f"paper/{paper}_{protocol}.yaml")
    theirs = parsed(STUDIES / suite / f"{TWINS[paper]}.yaml", protocol)
    changed = {name for name in type(ambers).model_fields if getattr(ambers, name) != getattr(theirs, name, None)}
    assert type(theirs) is type(ambers)
    assert "name" in changed
    assert changed <= own_words(ambers)
    assert "Amber" not in str(theirs)


@twin
def test_the_blocks_of_a_twin_lie_within_one_block_of_the_depth_of_ambers(
    suite: str, paper: str, protocol: Protocol
) -> None:
    blocks = shape_of(suite).n_blocks
    ambers = depths(parsed(STUDIES / f"paper/{paper}_{protocol}.yaml"), 32)
    theirs = depths(parsed(STUDIES / suite / f"{TWINS[paper]}.yaml", protocol), blocks)
    assert bool(ambers) == bool(theirs)
    for some, others in ((ambers, theirs), (theirs, ambers)):
        assert all(min(abs(one - other) for other in others) <= 1 / blocks for one in some)


def test_the_desk_has_what_the_papers_tables_and_figures_are_made_of() -> None:
    """Both protocols, vectors of the tuned model itself, the paper's strength in the paper's unit, and all tasks after fine-tuning."""
    desk = {path.stem: parsed(path) for path in (STUDIES / "desk").glob("*.yaml")}
    protocols = {protocol for study in desk.values() if isinstance(study, TraceConfig) for protocol in study.protocols}
    steered = [study for study in desk.values() if isinstance(study, SteerConfig)]
    (tuned,) = [study for study in desk.values() if isinstance(study, FinetuneConfig)]
    assert "published" in protocols
    assert any([target.source for target in study.targets] == [study.sources.source] for study in steered)
    assert any(study.unit == PAPER_UNIT and {PAPER_ALPHA, -PAPER_ALPHA} <= {*study.alphas} for study in steered)
    assert {task.name for task in tuned.tasks} == {
        f"world_{name}" for name in ("reliability", "toxicity", "privacy", "fairness")
    }


def test_make_runs_every_study_of_the_desk() -> None:
    made = (STUDIES.parent / "Makefile").read_text("utf-8")
    assert [
        path.name for path in (STUDIES / "desk").glob("*.yaml") if f"studies/desk/{path.name} --out" not in made
    ] == []


@pytest.mark.parametrize("suite", SUITES)
def test_a_twin_says_what_it_makes_and_how_it_is_run(suite: str) -> None:
    for stem in TWINS.values():
        lines = (STUDIES / suite / f"{stem}.yaml").read_text("utf-8").splitlines()
        assert lines[0].startswith(("# Figure", "# Table"))
        assert f"studies/{suite}/{stem}.yaml --out" in lines[1]
        assert "--protocol published" in lines[2]


def test_the_templates_name_steps_that_their_pre_training_saves() -> None:
    own = read_pretrain(STUDIES / "own/pretrain.yaml")
    saved = {f"step_{step:07d}" for step in save_steps(own.steps, own.saves)}
    for stem in TWINS.values():
        series = series_of(parsed(STUDIES / f"own/{stem}.yaml"))
        if series and series.source == "runs/mine" and isinstance(series.select, tuple):
            assert set(series.select) <= saved


def test_the_paper_probes_all_checkpoints_blocks_and_dimensions_of_amber() -> None:
    study = read_study(STUDIES / "paper/probing_published.yaml", TraceConfig)
    known = select(known_checkpoints(study.checkpoints.source), study.checkpoints.how())
    blocks = tuple(f"block_{i}" for i in range(shapes.of(study.checkpoints.source).n_blocks))
    assert (len(known), study.sites, len(study.datasets)) == (360, blocks, 5)


def test_the_early_recipe_follows_ambers_own_learning_rate_and_saves_densely_to_step_6000() -> None:
    early = read_pretrain(STUDIES / "paper/early_pretrain.yaml")
    whole = read_pretrain(STUDIES / "pretrain/amber_7b.yaml")
    assert (early.steps, early.tokens_per_step) == (6000, whole.tokens_per_step)
    for step in (1, 1000, 2000, 3000, 4000, 5000, 6000):
        own = learning_rate(step, total=early.steps, optimizer=early.optimizer)
        theirs = learning_rate(step, total=whole.steps, optimizer=whole.optimizer)
        assert own == pytest.approx(theirs, rel=5e-4)
    saved = save_steps(early.steps, early.saves)
    assert len([step for step in saved if step <= 1000]) > 20
    assert {0, 1, 3000, 6000} <= set(saved)


def test_the_early_recipe_is_ambers_but_for_its_length() -> None:
    early = read_pretrain(STUDIES / "paper/early_pretrain.yaml")
    whole = read_pretrain(STUDIES / "pretrain/amber_7b.yaml")
    changed = {"tokens", "saves", "optimizer"}
    assert {name for name in PretrainConfig.model_fields if getattr(early, name) != getattr(whole, name)} == changed
    assert early.optimizer.model_copy(update={"floor": whole.optimizer.floor}) == whole.optimizer

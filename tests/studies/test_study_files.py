"""Every file under ``studies/``: a valid study, over checkpoints that exist."""

from pathlib import Path

import pytest

from trustrace.core.config import Config
from trustrace.models import shapes
from trustrace.models.known import known_checkpoints
from trustrace.models.selection import select
from trustrace.studies.config import CheckpointsConfig, TraceConfig
from trustrace.studies.files import read_study, read_yaml
from trustrace.studies.proxying.config import ProxyConfig
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.tuning.config import FinetuneConfig
from trustrace.training.config import PretrainConfig
from trustrace.training.schedule import learning_rate, save_steps

STUDIES = Path(__file__).parents[2] / "studies"
FILES = sorted(STUDIES.rglob("*.yaml"))
KINDS: dict[str, type[Config]] = {
    "trace": TraceConfig,
    "steer": SteerConfig,
    "finetune": FinetuneConfig,
    "proxy_tune": ProxyConfig,
}


def read_pretrain(path: Path) -> PretrainConfig:
    return PretrainConfig.read(read_yaml(path), where=str(path))


def parsed(path: Path) -> Config:
    values = read_yaml(path)
    return read_pretrain(path) if "architecture" in values else read_study(path, KINDS[values.get("study", "trace")])


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
    study = parsed(path)
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

"""Training, checking and opening toxicity classifiers, as a user does."""

import json

import pytest
import torch
from transformers import RobertaConfig, RobertaForSequenceClassification
from typer.testing import CliRunner

from tests.evaluation.toxicity.rows import statements
from trustrace.cli.toxicity import app
from trustrace.core.errors import ConfigError, DataError
from trustrace.datasets.files import write_statements
from trustrace.evaluation.toxicity.classifier import ToxicityClassifier
from trustrace.models import tiny
from trustrace.studies.settings import Settings
from trustrace.studies.toxicity import open_classifier, train_classifier

CPU = Settings(device="cpu")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_statements(statements(), path)
    return path


@pytest.fixture(scope="module")
def neural(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roberta") / "tiny"
    torch.default_generator.manual_seed(0)
    config = RobertaConfig(
        vocab_size=258,
        hidden_size=32,
        num_attention_heads=4,
        num_hidden_layers=1,
        intermediate_size=32,
        max_position_embeddings=66,
        id2label={0: "fine", 1: "hateful"},
        label2id={"fine": 0, "hateful": 1},
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def test_a_classifier_is_trained_checked_and_opened_by_its_folder(rows, tmp_path):
    folder = tmp_path / "ours"
    trained = CliRunner().invoke(app, ["train", "--out", str(folder), "--dataset", str(rows)])
    assert trained.exit_code == 0, trained.output
    assert "on statements that it has not seen" in trained.output
    found = open_classifier(str(folder), settings=CPU)
    assert isinstance(found, ToxicityClassifier)
    assert "held-out statements" in found.note
    written = tmp_path / "check.json"
    checked = CliRunner().invoke(app, ["check", str(folder), "--dataset", str(rows), "--json", str(written)])
    assert checked.exit_code == 0, checked.output
    again = json.loads(written.read_text())
    before = json.loads((folder / "check.json").read_text())
    assert [row["value"] for row in again] == [row["value"] for row in before]
    assert {row["quantity"] for row in again} == {"accuracy", "auroc", "log_loss", "ece", "toxic_share"}


def test_a_folder_of_somebody_else_is_refused_before_anything_is_read_or_trained(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(DataError, match="exists and holds no classifier"):
        train_classifier(tmp_path, settings=CPU, dataset="there/is/no/such.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_model_of_transformers_is_checked_in_the_same_way(rows, neural):
    checked = CliRunner().invoke(app, ["check", f"hf:{neural}#hateful", "--dataset", str(rows), "--device", "cpu"])
    assert checked.exit_code == 0, checked.output
    assert "auroc" in checked.output
    assert not (neural / "check.json").exists()


def test_the_class_that_means_toxic_is_named(neural):
    found = open_classifier(f"hf:{neural}#1", settings=CPU)
    assert found.name == f"{neural}#1"
    assert "reads 64 tokens of a text at most" in found.note
    texts = ["a", "b c"]
    assert found.probabilities(texts) == pytest.approx(
        open_classifier(f"hf:{neural}#hateful", settings=CPU).probabilities(texts)
    )
    assert found.probabilities(texts) == pytest.approx(
        1 - open_classifier(f"hf:{neural}#fine", settings=CPU).probabilities(texts)
    )
    with pytest.raises(ConfigError, match="has no class 'LABEL_1'; it has fine, hateful"):
        open_classifier(f"hf:{neural}", settings=CPU)


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is no toxicity classifier; name a folder .* or hf:NAME"):
        open_classifier(str(tmp_path), settings=CPU)

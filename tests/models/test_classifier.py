"""Text classifiers: any of transformers', read safely, batched, truncated."""

import json
import pickle

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, ModernBertDecoderConfig, RobertaConfig
from transformers import DistilBertForSequenceClassification as DistilBert
from transformers import ModernBertDecoderForSequenceClassification as ModernBertDecoder
from transformers import RobertaForSequenceClassification as Roberta

from tests.models.fake_hub import commit_of
from trustrace.core.errors import CheckpointError, ConfigError, ModelError, TokenizerError, UnsafeFileError
from trustrace.models import tiny
from trustrace.models.classifier import load_classifier

SHAPE = {"vocab_size": 258, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "pad_token_id": 1}
TEXTS = ("a kind word", "x", "", "something rather longer than the others " * 3, "a kind word")


def save(folder, *, safe=True, **changes):
    """A tiny RoBERTa that reads 64 tokens: its embedding has 66 positions, of which two are reserved."""
    torch.default_generator.manual_seed(0)
    config = RobertaConfig(**SHAPE, intermediate_size=64, max_position_embeddings=66, num_labels=2, **changes)
    module = Roberta(config)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    module.save_pretrained(folder)
    tiny.tokenizer(adds_bos=True).save_pretrained(folder)
    if not safe:
        torch.save(module.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("roberta") / "tiny")


@pytest.fixture(scope="module")
def classifier(folder):
    return load_classifier(str(folder))


@pytest.mark.parametrize("batch_tokens", [1, 150, None])
def test_batches_give_what_transformers_gives_for_each_text_alone(folder, classifier, batch_tokens):
    plain = Roberta.from_pretrained(folder).eval()
    found = classifier.probabilities(TEXTS, batch_tokens=batch_tokens)
    for text, row in zip(TEXTS, found, strict=True):
        ids = classifier.tokenizer(text, truncation=True, max_length=64, return_tensors="pt").input_ids
        with torch.no_grad():
            assert row == pytest.approx(plain(ids).logits[0].softmax(-1).numpy(), abs=1e-6)
    assert found.sum(1) == pytest.approx(1)
    assert found[:, 1].std() > 1e-3


def test_a_text_is_read_up_to_the_last_position_that_roberta_has(classifier):
    assert classifier.max_tokens == 64
    long, longer = "a" * 63, "a" * 63 + "z" * 500
    assert classifier.n_truncated([long, longer, "b"]) == 1
    found = classifier.probabilities([long, longer])
    assert found[0] == pytest.approx(found[1], abs=1e-7)


def test_no_classifier_reads_more_than_512_tokens(tmp_path):
    module = DistilBert(
        DistilBertConfig(vocab_size=258, dim=16, n_heads=2, n_layers=1, hidden_dim=16, max_position_embeddings=700)
    )
    module.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    found = load_classifier(str(tmp_path))
    assert found.max_tokens == 512
    assert found.probabilities(["a" * 900]).shape == (1, 2)


def test_a_class_is_named_by_its_label_or_its_number(classifier):
    assert classifier.labels == ("LABEL_0", "LABEL_1")
    assert [classifier.column(label) for label in ("LABEL_1", "1", "0")] == [1, 1, 0]
    with pytest.raises(ConfigError, match="has no class 'toxic'; it has LABEL_0, LABEL_1"):
        classifier.column("toxic")
    with pytest.raises(ConfigError, match="has no class '2'"):
        classifier.column("2")


def test_classes_that_do_not_exclude_one_another_have_a_sigmoid_each(tmp_path):
    found = load_classifier(str(save(tmp_path / "multi", problem_type="multi_label_classification")))
    values = found.probabilities(TEXTS)
    assert np.abs(values.sum(1) - 1).max() > 1e-3
    assert ((values > 0) & (values < 1)).all()


def test_no_texts_have_no_probabilities(classifier):
    assert classifier.probabilities([]).shape == (0, 2)
    assert classifier.n_truncated([]) == 0


def test_progress_is_told_of_every_text(classifier):
    told = []
    classifier.probabilities(TEXTS, batch_tokens=40, progress=lambda done, total, what: told.append((done, total)))
    assert told[-1] == (len(TEXTS), len(TEXTS))


def test_weights_that_torch_pickled_are_read_as_tensors_only(tmp_path, classifier):
    found = load_classifier(str(save(tmp_path / "bin", safe=False)))
    assert found.probabilities(TEXTS) == pytest.approx(classifier.probabilities(TEXTS), abs=1e-6)
    assert found.commit != classifier.commit


def test_a_pickle_that_holds_more_than_tensors_is_refused(tmp_path):
    folder = save(tmp_path / "bin", safe=False)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": print}))
    with pytest.raises(UnsafeFileError, match="could run code"):
        load_classifier(str(folder))


def test_a_language_model_is_no_classifier(tmp_path):
    with pytest.raises(CheckpointError, match="no trained classifier"):
        load_classifier(str(tiny.save(tmp_path / "llama", "llama")))


def test_what_is_missing_is_named(tmp_path):
    folder = save(tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(TokenizerError, match="no tokenizer"):
        load_classifier(str(folder))
    with pytest.raises(CheckpointError, match="no such folder"):
        load_classifier(str(tmp_path / "nowhere"))


def test_a_tokenizer_that_cannot_pad_is_refused(tmp_path):
    folder = save(tmp_path / "unpadded")
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(TokenizerError, match="no padding token"):
        load_classifier(str(folder))


def decoder(folder, *, padding):
    """A tiny decoder that answers at the last token that is not `padding`."""
    torch.default_generator.manual_seed(0)
    config = ModernBertDecoderConfig(**SHAPE | {"pad_token_id": padding}, intermediate_size=32, num_labels=2)
    module = ModernBertDecoder(config)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    module.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def test_a_decoder_answers_alike_alone_and_beside_a_longer_text(tmp_path):
    found = load_classifier(str(decoder(tmp_path, padding=tiny.tokenizer().pad_token_id)))
    alone = np.concatenate([found.probabilities([text]) for text in TEXTS[:2]])
    assert found.probabilities(TEXTS[:2]) == pytest.approx(alone, abs=1e-5)


def test_a_decoder_that_would_answer_at_the_padding_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"changes with the padding .* the padding token 77, its tokenizer"):
        load_classifier(str(decoder(tmp_path, padding=77)))


def test_what_an_architecture_fails_with_is_one_error_that_names_the_classifier(tmp_path, monkeypatch):
    folder = decoder(tmp_path, padding=tiny.tokenizer().pad_token_id)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": 5000}))
    with pytest.raises(CheckpointError, match="cannot read it as a classifier: Padding_idx"):
        load_classifier(str(folder))
    (folder / "config.json").write_text(json.dumps(config))

    def fails(*_, **__):
        raise AttributeError("'ModernBertDecoderConfig' object has no attribute 'classifier_pooling'")

    monkeypatch.setattr(ModernBertDecoder, "forward", fails)
    with pytest.raises(ModelError, match=r"cannot compute with it .*classifier_pooling.*modernbert-decoder"):
        load_classifier(str(folder))
    monkeypatch.setattr(ModernBertDecoder, "__init__", fails)
    with pytest.raises(CheckpointError, match=r"cannot read it as a classifier: .*classifier_pooling"):
        load_classifier(str(folder))


def test_an_unknown_architecture_is_refused(tmp_path):
    folder = save(tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "novel", "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(ModelError, match="architecture 'novel' is not known"):
        load_classifier(str(folder))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    folder = save(tmp_path / "nan", safe=False)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights["classifier.out_proj.bias"][0] = float("nan")
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        load_classifier(str(folder))


def test_a_classifier_is_fetched_from_the_hub(folder, classifier, hub):
    hub({"owner/toxic": {"main": folder}})
    found = load_classifier("owner/toxic")
    assert found.name == "owner/toxic"
    assert found.commit == commit_of("main")
    assert found.probabilities(TEXTS) == pytest.approx(classifier.probabilities(TEXTS), abs=1e-6)

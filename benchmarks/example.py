"""What the capture benchmarks share: a Llama of 25 million parameters and the paper's StereoSet and TruthfulQA statements."""

from transformers import AutoModelForCausalLM, LlamaConfig

from trustrace.core.statements import Statements
from trustrace.datasets import catalog
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel

DATASETS = ("fairness/published", "reliability/published")


def statements(*, every: int = 1) -> list[str]:
    """The statements of every so many-th group of both sets, so that what shares a beginning stays together."""
    return [text for name in DATASETS for text in _thinned(catalog.load(name), every)]


def llama() -> LanguageModel:
    """A random Llama: 6 blocks of width 512, 24.6 million parameters, and a tokenizer that knows the statements' words."""
    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    tokenizer = tiny.tokenizer(adds_bos=True, texts=statements(), vocab_size=config.vocab_size)
    return LanguageModel.of(AutoModelForCausalLM.from_config(config).eval(), tokenizer)


def block_parameters(model: LanguageModel) -> int:
    """Parameters that every token meets, the embedding and the vocabulary head left out."""
    return sum(parameter.numel() for parameter in model.anatomy.blocks.parameters())


def _thinned(dataset: Statements, every: int) -> list[str]:
    order = {group: place for place, group in enumerate(dict.fromkeys(dataset.groups))}
    return [text for text, group in zip(dataset.texts, dataset.groups, strict=True) if order[group] % every == 0]

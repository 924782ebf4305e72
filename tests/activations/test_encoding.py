import pytest

from tests.activations.models import language_model
from trustrace.activations.encoding import encode
from trustrace.core.errors import AlignmentError, DataError


@pytest.mark.parametrize("adds_bos", [False, True])
def test_a_beginning_of_sequence_token_is_not_read(adds_bos):
    model = language_model(adds_bos=adds_bos)
    (encoding,) = encode(model, ["abc"])
    assert model.tokenizer.decode(encoding.ids[encoding.start : encoding.stop]) == "abc"
    assert encoding.start == int(adds_bos)


@pytest.mark.parametrize("adds_bos", [False, True])
def test_a_span_is_the_tokens_that_its_characters_touch(adds_bos):
    model = language_model(adds_bos=adds_bos)
    text = "the naïve cat sat"
    start = text.index("naïve")
    (encoding,) = encode(model, [text], spans=[(start, start + 5)])
    assert model.tokenizer.decode(encoding.ids[encoding.start : encoding.stop]) == "naïve"


def test_a_long_list_of_texts_is_encoded_like_each_text():
    model = language_model()
    texts = [f"text {i}" for i in range(2100)]
    spans = [(5, len(text)) for text in texts]
    encodings = encode(model, texts, spans=spans)
    assert [model.tokenizer.decode(encoding.ids[1:]) for encoding in encodings] == texts
    assert [model.tokenizer.decode(e.ids[e.start : e.stop]) for e in encodings] == [str(i) for i in range(2100)]
    with pytest.raises(DataError, match="statement 2100 has no token"):
        encode(model, [*texts, ""])


def test_truncation_from_the_left_keeps_the_end_and_the_beginning_of_sequence_token():
    model = language_model()
    text = "a" * 600 + "the end"
    (encoding,) = encode(model, [text], truncation="left")
    assert len(encoding.ids) == model.max_tokens
    assert encoding.ids[0] == model.tokenizer.bos_token_id
    assert model.tokenizer.decode(encoding.ids[1:]) == text[-model.max_tokens + 1 :]


def test_truncation_moves_a_span_with_its_text():
    model = language_model()
    text = "a" * 600 + "the end"
    (encoding,) = encode(model, [text], spans=[(604, 607)], truncation="left")
    assert model.tokenizer.decode(encoding.ids[encoding.start : encoding.stop]) == "end"


def test_a_statement_longer_than_the_context_is_named_with_the_way_out():
    with pytest.raises(DataError, match=r"statement 1 has 601 tokens, but .* reads 512 at most.*truncation 'left'"):
        encode(language_model(), ["short", "a" * 600])


@pytest.mark.parametrize(
    ("texts", "spans", "message"),
    [
        ([], None, "no statements"),
        (["a", ""], None, "statement 1 has no token"),
        (["abc", "abc"], [(0, 1)], "2 statements but 1 spans"),
        (["abc"], [(7, 9)], "statement 0 has no token in its span, characters 7 to 9"),
    ],
)
def test_what_cannot_be_read_is_refused(texts, spans, message):
    with pytest.raises((DataError, AlignmentError), match=message):
        encode(language_model(), texts, spans=spans)


def test_a_span_that_truncation_cuts_off_is_refused():
    with pytest.raises(DataError, match="cuts its span off"):
        encode(language_model(), ["a" * 600], spans=[(0, 3)], truncation="left")

"""Our model in the harness answers as the harness's own class does, and several versions of it as each alone."""

import copy

import lm_eval
import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from tests.datasets.test_general import write_article
from tests.evaluation.harness.versions import random_model, stories, versions
from trustrace.core.errors import ConfigError, DataError
from trustrace.datasets import general
from trustrace.evaluation.harness.definitions import local
from trustrace.evaluation.harness.live import LiveModel, evaluated
from trustrace.evaluation.harness.undisturbed import undisturbed

REQUESTS = [
    ("Question: What is it?\nAnswer:", " a dog"),
    ("Question: What is it?\nAnswer:", " a cow"),
    ("Question: What is it?\nAnswer: ", "a dog"),
    ("Once upon a time", ", there was"),
    ("", "The end"),
    ("<s>Once upon", " a time"),
    ("Il était une fois", " où"),
    ("Out of room " * 90, "of room"),
]


def plain(model):
    """The harness's own class on the same weights."""
    with undisturbed():
        return HFLM(pretrained=model.module, tokenizer=copy.deepcopy(model.tokenizer), batch_size=3)


def instances(requests, kind="loglikelihood"):
    return [Instance(request_type=kind, doc={}, arguments=args, idx=0) for args in requests]


@pytest.fixture(params=["gpt2", "llama", "gpt_neox"])
def model(request):
    return random_model(request.param, adds_bos=request.param == "llama")


def test_log_likelihoods_are_those_of_the_harness(model):
    with undisturbed():
        theirs = plain(model).loglikelihood(instances(REQUESTS), disable_tqdm=True)
    ours = LiveModel(model).loglikelihood(instances(REQUESTS))
    np.testing.assert_allclose([x for x, _ in ours], [x for x, _ in theirs], atol=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_whole_texts_are_rolled_through_as_in_the_harness(model):
    texts = [("Once upon a time there was a dog.",), ("long " * 250,)]
    with undisturbed():
        theirs = plain(model).loglikelihood_rolling(instances(texts, "loglikelihood_rolling"), disable_tqdm=True)
        ours = LiveModel(model).loglikelihood_rolling(instances(texts, "loglikelihood_rolling"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_greedy_answers_are_those_of_the_harness(data_dir):
    model = stories(data_dir)
    asked = [
        ("Once upon a time", {"until": ["."], "max_gen_toks": 40}),
        ("Lily went to the park", {"until": ["\n", "!"], "max_gen_toks": 25, "do_sample": False}),
        ("Tom saw a", {"until": ["."], "max_gen_toks": 40}),
    ]
    with undisturbed():
        theirs = plain(model).generate_until(instances(asked, "generate_until"), disable_tqdm=True)
    ours = LiveModel(model).generate_until(instances(asked, "generate_until"))
    assert ours == theirs
    assert len(set(ours)) == 3
    assert all(ours)


def test_a_way_of_decoding_that_is_not_offered_is_named(model):
    asked = instances([("a", {"until": ["."], "max_gen_toks": 4, "num_beams": 3})], "generate_until")
    with pytest.raises(ConfigError, match="num_beams"):
        LiveModel(model).generate_until(asked)


def test_a_prompt_that_is_too_long_loses_its_beginning_and_is_counted(model):
    live = LiveModel(model)
    assert [live.is_cut(*request) for request in REQUESTS if request[0]] == [False] * 6 + [True]
    with pytest.raises(DataError, match="continuation takes"):
        live.loglikelihood(instances([("a", "b" * 600)]))


def test_every_version_gets_the_answers_that_it_gives_alone_in_one_pass(model):
    passes = []

    def count(module, args, output):
        passes.append(len(output))

    with versions(model, [0.0, 2.0, -1.0]) as several:
        handle = model.anatomy.blocks[0].register_forward_hook(count)
        live = LiveModel(several)
        together = [live.of(variant).loglikelihood(instances(REQUESTS)) for variant in range(2)]
        used = len(passes)
        together.append(live.of(2).loglikelihood(instances(REQUESTS)))
        handle.remove()
        assert len(passes) == used > 0
    for alpha, answers in zip([0.0, 2.0, -1.0], together, strict=True):
        with versions(model, [alpha]) as one:
            alone = LiveModel(one).loglikelihood(instances(REQUESTS))
        np.testing.assert_allclose([x for x, _ in answers], [x for x, _ in alone], atol=1e-4)
    assert abs(together[0][0][0] - together[1][0][0]) > 0.01


def test_requests_of_equal_lengths_are_not_taken_for_one_another(model):
    live = LiveModel(model)
    first, second = ([("What is it?", ending)] for ending in (" a dog", " a cow"))
    answers = [live.loglikelihood(instances(asked)) for asked in (first, second, first)]
    assert answers[0] == answers[2] != answers[1]
    assert answers[1] == LiveModel(model).loglikelihood(instances(second))


def test_nothing_is_remembered_from_one_evaluation_to_the_next(model):
    first = LiveModel(model).loglikelihood(instances(REQUESTS))
    with versions(model, [2.0]) as steered:
        second = LiveModel(steered).loglikelihood(instances(REQUESTS))
    assert abs(first[0][0] - second[0][0]) > 0.01


def benchmarks(data_dir, folder):
    for number in range(6):
        write_article(folder / general.RACE_FOLDER, number, article=f"Article {number}. " + "A dog ran. " * number)
    yield "race", general.load("race", data_dir=folder)
    for name in ("arc_easy", "arc_challenge", "mathqa", "mmlu"):
        found = general.load(name, data_dir=data_dir)
        kept = found.items if name != "mmlu" else [each for each in found.items if each.subject == "anatomy"]
        yield name, general.Questions(name=name, items=tuple(kept[:30]), source=found.source)


def test_documents_score_as_in_the_harness_on_every_benchmark(data_dir, tmp_path):
    model = stories(data_dir)
    for name, questions in benchmarks(data_dir, tmp_path):
        with undisturbed(), local(questions) as defined:
            chosen = {task: list(range(len(each.eval_docs))) for task, each in defined.tasks.items()}
            (ours,) = evaluated(model, defined.tasks, documents=chosen).samples
            theirs = lm_eval.evaluate(
                lm=plain(model), task_dict={"tasks": dict(defined.tasks), "groups": {}}, bootstrap_iters=0
            )["samples"]
        assert list(ours) == list(theirs) == [name if name != "mmlu" else "mmlu_anatomy"]
        for task, documents in theirs.items():
            assert len(documents) == len(ours[task]) >= 6
            for one, other in zip(ours[task], documents, strict=True):
                assert one["doc_id"] == other["doc_id"]
                assert one["arguments"] == other["arguments"]
                assert [one.get(metric) for metric in ("acc", "acc_norm")] == [
                    other.get(metric) for metric in ("acc", "acc_norm")
                ]
                scores = [[answer[0] for answer in each["filtered_resps"]] for each in (one, other)]
                np.testing.assert_allclose(*scores, atol=1e-4)

"""Visits that workers share: each made once while nobody dies, and none lost whoever does."""

import random
import threading
from collections import Counter

import pytest

from trustrace.studies.clusters.dispatch import FALSE_STARTS, LIVES, Answer, Dispatch

VISITS = [f"step{step}" for step in range(40)]


def test_visits_are_handed_out_in_order_each_to_one_worker() -> None:
    dispatch = Dispatch(VISITS[:4])
    assert [dispatch.enlist(worker) for worker in (0, 1)] == [1, 2]
    assert [dispatch.take(worker) for worker in (0, 1, 0, 1)] == VISITS[:4]
    assert dispatch.take(0) is Answer.OVER
    for worker, visit in ((0, "step0"), (1, "step1"), (0, "step2")):
        dispatch.begin(worker, visit)
        dispatch.end(worker, visit)
    standing = dispatch.standing()
    assert (standing.waiting, standing.under_way, standing.done, standing.lost) == ((), ("step3",), 3, ())


def test_what_a_dead_worker_had_comes_first_and_in_order() -> None:
    dispatch = Dispatch(VISITS[:5])
    for worker in (0, 1):
        dispatch.enlist(worker)
    assert [dispatch.take(0), dispatch.take(0), dispatch.take(1)] == ["step0", "step1", "step2"]
    dispatch.begin(0, "step0")
    assert dispatch.enlist(0) == 3
    assert [dispatch.take(1), dispatch.take(0), dispatch.take(0)] == ["step0", "step1", "step3"]
    dispatch.leave(1)
    assert [dispatch.take(0), dispatch.take(0)] == ["step2", "step0"]


def test_the_others_wait_until_the_first_visit_has_given_what_they_need() -> None:
    dispatch = Dispatch(VISITS[:3], first_alone=True)
    for worker in (0, 1):
        dispatch.enlist(worker)
    assert dispatch.take(0) == "step0"
    assert dispatch.take(1) is Answer.WAIT
    assert dispatch.take(0) is Answer.WAIT
    dispatch.begin(0, "step0")
    # Its worker dies, and another one takes it over.
    dispatch.enlist(0)
    assert dispatch.take(1) == "step0"
    assert dispatch.take(0) is Answer.WAIT
    dispatch.open()
    assert dispatch.take(0) == "step1"


@pytest.mark.parametrize("first_alone", [False, True])
def test_a_visit_that_kills_its_workers_is_given_up(first_alone: bool) -> None:
    """And with it all that cannot be done without it."""
    dispatch = Dispatch(VISITS[:2], first_alone=first_alone)
    for death in range(LIVES):
        dispatch.enlist(0)
        assert dispatch.take(0) == "step0", death
        dispatch.begin(0, "step0")
    dispatch.enlist(0)
    assert dispatch.standing().lost == ("step0",)
    assert dispatch.take(0) == (Answer.OVER if first_alone else "step1")


def test_visits_that_were_only_fetched_do_not_count_as_deadly() -> None:
    dispatch = Dispatch(VISITS[:2])
    for _ in range(LIVES + 2):
        dispatch.enlist(0)
        assert dispatch.take(0) == "step0"
    assert dispatch.standing().lost == ()


def test_a_worker_that_only_dies_is_asked_no_more() -> None:
    dispatch = Dispatch(VISITS)
    for _ in range(FALSE_STARTS):
        dispatch.enlist(0)
        assert dispatch.take(0) == "step0"
    dispatch.enlist(0)
    assert dispatch.take(0) is Answer.OVER
    dispatch.enlist(1)
    assert dispatch.take(1) == "step0"


def test_nothing_more_is_handed_out_after_a_stop() -> None:
    dispatch = Dispatch(VISITS, first_alone=True)
    for worker in (0, 1):
        dispatch.enlist(worker)
    assert dispatch.take(0) == "step0"
    dispatch.stop()
    assert dispatch.take(1) is Answer.OVER


@pytest.mark.parametrize("seed", range(5))
def test_workers_that_die_at_random_make_every_visit(seed: int) -> None:
    dispatch, made, moments = Dispatch(VISITS), Counter[str](), random.Random(seed)
    chances = [random.Random(moments.random()) for _ in range(6)]
    barrier = threading.Barrier(6)

    def work(worker: int) -> None:
        barrier.wait()
        dispatch.enlist(worker)
        while (visit := dispatch.take(worker)) is not Answer.OVER:
            assert isinstance(visit, str)
            if chances[worker].random() < 0.3:
                dispatch.enlist(worker)
                continue
            dispatch.begin(worker, visit)
            made[visit] += 1
            dispatch.end(worker, visit)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == Counter(VISITS)
    assert dispatch.standing().done == len(VISITS)


def test_what_a_lost_node_held_goes_on_before_its_worker_comes_again() -> None:
    """Also the first visit, for which all others wait with their places taken."""
    dispatch = Dispatch(VISITS[:3], first_alone=True)
    dispatch.enlist(0, node="a")
    dispatch.enlist(1, node="b")
    assert dispatch.take(0) == "step0"
    dispatch.miss(["a", "b"])
    assert dispatch.take(1) is Answer.WAIT
    dispatch.miss(["b"])
    assert dispatch.take(1) == "step0"
    dispatch.open()
    assert dispatch.take(1) == "step1"
    dispatch.enlist(0, node="b")
    assert dispatch.take(0) == "step2"


def test_a_visit_that_ends_its_worker_with_an_error_is_tried_after_all_others_and_given_up_in_the_end() -> None:
    dispatch = Dispatch(VISITS[:4])
    for worker in range(LIVES + 1):
        dispatch.enlist(worker)
    for worker in range(LIVES):
        while (visit := dispatch.take(worker)) != "step0":
            assert isinstance(visit, str)
            dispatch.begin(worker, visit)
            dispatch.end(worker, visit)
        dispatch.begin(worker, visit)
        dispatch.fall(worker)
    assert dispatch.standing().done == 3
    assert dispatch.standing().lost == ("step0",)
    assert dispatch.take(LIVES) is Answer.OVER

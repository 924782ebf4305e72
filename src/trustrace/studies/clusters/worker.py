"""A worker on a cluster: a process with a stream of its own, which asks for the next visit when it may fetch one."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trustrace.core.errors import ConfigError, RunError
from trustrace.runs.claiming import LOCK
from trustrace.runs.identity import code_version
from trustrace.runs.ledger import Ledger
from trustrace.runs.manifest import environment
from trustrace.runs.remote import is_url, placed
from trustrace.studies.clusters.connection import imported_ray
from trustrace.studies.clusters.dispatch import Answer
from trustrace.studies.planning import MEASURING, Plan
from trustrace.studies.settings import Settings
from trustrace.studies.streaming import Visit
from trustrace.studies.tracing import Tracing
from trustrace.studies.visiting import make_visits
from trustrace.studies.watched import watching

SHARE = "of-ray"
"""What the shares of a run are called that workers on a cluster divide as they go; the first is that of whoever oversees them."""

TOKEN = f"{LOCK}-ray"
"""A file of the run folder by which a worker knows that it sees the right one."""

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "scikit-learn")
"""Whose versions can change a number."""

CLAIMS = 4
"""How often a worker tries to claim its part of the run folder, each time under another name."""

PATIENCE = 0.5
"""Seconds until a worker asks again that was told to wait."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What every worker is told.

    Attributes:
        plan: What is measured.
        visits: Those that are to be made, by their keys.
        settings: Where work is done.
        place: The run folder, or its URL.
        only_failed: Leave what was not begun.
        versions: What the run was planned with.
        token: What stands in the run folder, for workers that should see it.
    """

    plan: Plan
    visits: Mapping[str, Visit]
    settings: Settings
    place: str
    only_failed: bool
    versions: Mapping[str, str]
    token: str

    def require_the_same_versions(self) -> None:
        """Do nothing where this process computes with what the run was planned with.

        Raises:
            ConfigError: it does not, and its numbers would not be those of this run.
        """
        here = versions()
        different = [
            f"{name} {here[name]} in place of {wanted}"
            for name, wanted in self.versions.items()
            if here[name] != wanted
        ]
        if different:
            raise ConfigError(
                f"{socket.gethostname()} has {', '.join(different)}; every node needs the versions of the one that starts the run"
            )

    def require_the_same_folder(self) -> None:
        """Do nothing where this process sees the run folder.

        Raises:
            ConfigError: it sees none, or another one.
        """
        path = Path(self.place, TOKEN)
        if is_url(self.place) or (path.is_file() and path.read_text(encoding="utf-8") == self.token):
            return
        raise ConfigError(
            f"{socket.gethostname()} does not see the run in {self.place}; give --out a folder that all nodes share, or a URL such as s3://bucket/run"
        )


class Leased:
    """The visits that a dispatch hands out to one worker: an :class:`trustrace.studies.visiting.Itinerary`."""

    def __init__(self, ask: Any, visits: Mapping[str, Visit], *, worker: int) -> None:
        """`ask` calls a method of the dispatch by its name."""
        self._ask, self._visits, self._worker = ask, visits, worker
        self._over = threading.Event()

    def __iter__(self) -> Iterator[Visit]:
        """The visits; one is waited for while it can still come."""
        while not self._over.is_set():
            answer = self._ask("take", self._worker)
            if answer is Answer.OVER:
                return
            if answer is Answer.WAIT:
                self._over.wait(PATIENCE)
                continue
            yield self._visits[answer]

    def begin(self, visit: Visit) -> None:
        """Say that its models are loaded from now on."""
        self._ask("begin", self._worker, visit.key)

    def inputs_noted(self) -> None:
        """Say that the others can begin."""
        self._ask("open")

    def end(self, visit: Visit) -> None:
        """Say that it was made."""
        self._ask("end", self._worker, visit.key)

    def stop(self) -> None:
        """Say that no visit can be made."""
        self._ask("stop")

    def close(self) -> None:
        """Give back what was not made."""
        self._over.set()
        self._ask("leave", self._worker)


class Worker:
    """A process on the cluster that makes visits, one after the other; Ray starts it again when it dies."""

    def work(self, orders: Orders, dispatch: Any, number: int) -> None:
        """Make visits until there are none left.

        Args:
            orders: What to do.
            dispatch: The actor that hands out visits.
            number: Which of the workers this is.

        Raises:
            TrustraceError: this process cannot work.
        """
        orders.settings.require_device()
        orders.require_the_same_versions()
        orders.require_the_same_folder()
        ask = partial(_asked, dispatch)
        with ExitStack() as held:
            ledger = _joined(held, orders, ask, number)
            watched = held.enter_context(watching(ledger.folder, worker=ledger.share, takes_any=True))
            trace = Tracing(
                plan=orders.plan,
                ledger=ledger,
                settings=orders.settings,
                progress=watched,
                only_failed=orders.only_failed,
                is_divided=True,
            )
            make_visits(trace, orders.plan, Leased(ask, orders.visits, worker=number))


def _joined(held: ExitStack, orders: Orders, ask: Any, number: int) -> Ledger:
    """The run folder, claimed until `held` is closed, under a name that nobody who died still holds.

    Raises:
        RunError: it cannot be claimed.
    """
    folder, mirror = placed(orders.place)
    study = orders.plan.study.model_dump(mode="json")
    about = environment() | {"device": orders.settings.torch_device(), "host": socket.gethostname()}
    node = imported_ray().get_runtime_context().get_node_id()
    for attempt in range(CLAIMS):
        share = f"{ask('enlist', number, about, node=node)}-{SHARE}"
        try:
            return held.enter_context(Ledger.open(folder, study=study, share=share, mirror=mirror))
        except RunError:
            if attempt == CLAIMS - 1:
                raise
            time.sleep(PATIENCE)
    raise AssertionError


def _asked(dispatch: Any, method: str, *arguments: Any, **named: Any) -> Any:
    return imported_ray().get(getattr(dispatch, method).remote(*arguments, **named))


def versions() -> dict[str, str]:
    """What two processes must have in common for their numbers to be of one run; builds for different devices are one version."""
    packages = environment()["packages"]
    held = {name: str(packages[name]).partition("+")[0] for name in PACKAGES}
    return held | {"code that measures": code_version(*MEASURING)[:12]}

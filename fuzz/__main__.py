"""``python -m fuzz``: every target, or the named ones."""

import argparse
import faulthandler
import subprocess
import sys
import warnings

from fuzz.driving import Findings, keep, run
from fuzz.targets import TARGETS


def main(arguments: list[str]) -> int:
    """Run, print a table of cases, and exit with 1 where something failed."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description="Mutate valid files and have every reader read them."
    )
    parser.add_argument("--cases", type=int, default=20_000, help="of each target")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each target, at most")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="this one alone; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("mutation", "atheris"), default="mutation")
    parser.add_argument("--show", action="store_true", help="print the traceback of every failure")
    given = parser.parse_args(arguments)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    names = given.target or list(TARGETS)
    if given.engine == "atheris":
        return _guided(names, cases=given.cases, seconds=given.seconds, seed=given.seed)
    every = []
    for name in names:
        every.append(run(TARGETS[name], cases=given.cases, seconds=given.seconds, seed=given.seed))
        _say(every[-1], show=given.show)
    failures = sum(len(found.failures) for found in every)
    print(f"{sum(found.cases for found in every):,} cases of {len(every)} targets; failures of {failures} kinds")
    return 1 if failures else 0


def _guided(names: list[str], **limits: float) -> int:
    """The highest exit code of `names`, each in a process of its own where there are several: atheris ends it."""
    if len(names) == 1:
        from fuzz.guided import run_guided

        return run_guided(TARGETS[names[0]], **limits)
    options = [f"--{name}={value}" for name, value in limits.items()]
    calls = [[sys.executable, "-m", "fuzz", "--engine=atheris", f"--target={name}", *options] for name in names]
    return max(subprocess.run(call, check=False).returncode for call in calls)  # noqa: S603


def _say(found: Findings, *, show: bool) -> None:
    print(
        f"{found.name:24} {found.cases:>9,} cases  {found.refused:>9,} refused  {len(found.failures):>3} failures  "
        f"{found.seconds:6.1f} s",
        flush=True,
    )
    for place, path in zip(found.failures, keep(found), strict=True):
        print(f"    {place}: {path}", flush=True)
        if show:
            print(found.traces[place], flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

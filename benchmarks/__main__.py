"""Run every benchmark of this folder, or the named ones, and print one table."""

import importlib
import pkgutil
import sys

import benchmarks


def main(wanted: list[str]) -> int:
    missed = 0
    present = sorted(one.name for one in pkgutil.iter_modules(benchmarks.__path__) if one.name != "__main__")
    for name in wanted or present:
        run = getattr(importlib.import_module(f"benchmarks.{name}"), "run", None)
        for row in run() if run else ():
            print(f"[{name}] {row}\n", flush=True)
            missed += not row.is_reached
    print(f"{missed} of the aims were missed" if missed else "every aim was reached")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

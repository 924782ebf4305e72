"""What a reader needs to repeat a run: versions, hardware, and where the code stood."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = (
    "trustrace",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
)


def environment() -> dict[str, Any]:
    """Versions of what computes, the machine it computes on, and the commit of trustrace where it runs from a checkout."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        },
        "code_commit": _code_commit(),
    }


def _processor() -> str:
    """The processor's name; Python itself knows it on few systems."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        names = [
            line.partition(":")[2].strip() for line in listing.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or "unknown"


def _code_commit() -> str:
    """The commit that this source tree stands at, with ``+`` when files differ from it; empty outside a checkout."""
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists():
        return ""
    commit = _git(here, "rev-parse", "HEAD")
    return f"{commit}+" if commit and _git(here, "status", "--porcelain", "--untracked-files=no") else commit


def _git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)  # noqa: S603, S607
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""

"""How much a steering study will do, before any of it is done."""

from collections import Counter
from pathlib import Path
from typing import Any

from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.steering.plan import plan_steer


def foresee_steer(study: SteerConfig, *, settings: Settings, run: Path | None = None) -> list[dict[str, Any]]:
    """What a study consists of, and how much of it `run` holds already, as rows.

    Raises:
        DataError, ModelError, ConfigError: as for planning the study itself.
    """
    plan = plan_steer(study, settings=settings)
    steps = Counter(unit.step for unit in plan.units)
    done = sum(run is not None and (run / "units" / unit.folder / "record.json").is_file() for unit in plan.units)
    places = len(study.sites) * len(study.alphas)
    return [
        {"what": "source checkpoints", "value": len(plan.sources)},
        {"what": "targets", "value": len(plan.targets)},
        {"what": "contrasts", "value": len(plan.contrasts)},
        {"what": "settings searched for each source and contrast", "value": places * len(study.kinds)},
        {"what": "settings searched for random directions", "value": places * study.random_controls},
        {"what": "tasks on the test half", "value": len(plan.tested)},
        *({"what": f"units: {step}", "value": count} for step, count in steps.items()),
        {"what": "units in all", "value": f"{len(plan.units)}, of which {len(plan.units) - done} are open"},
    ]

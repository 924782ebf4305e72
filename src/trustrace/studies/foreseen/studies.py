"""Any study file on any machine."""

from pathlib import Path

from trustrace.core.errors import ConfigError
from trustrace.core.measurements import Protocol
from trustrace.studies.config import TraceConfig
from trustrace.studies.files import read_study, read_yaml
from trustrace.studies.foreseen.bill import Bill
from trustrace.studies.foreseen.machines import machine
from trustrace.studies.foreseen.proxy import foresee_proxy_tuning
from trustrace.studies.foreseen.steering import foresee_steering
from trustrace.studies.foreseen.subjects import Hints
from trustrace.studies.foreseen.tracing import foresee_trace
from trustrace.studies.foreseen.training import foresee_training
from trustrace.studies.foreseen.tuning import foresee_finetuning
from trustrace.studies.proxying.config import ProxyConfig
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.tuning.config import FinetuneConfig
from trustrace.training.config import PretrainConfig


def foresee(
    study: Path,
    *,
    on: str,
    like: str | None = None,
    made_by: Path | None = None,
    protocol: Protocol | None = None,
    settings: Settings,
) -> Bill:
    """What the study in the YAML file `study` takes on a machine.

    Args:
        study: A study of any kind, or a pre-training.
        on: See :func:`trustrace.studies.foreseen.machines.machine`.
        like: A known repository whose models have the shape of the study's.
        made_by: The pre-training file that makes the study's checkpoints.
        protocol: Which one, of a file that holds a study in both protocols.
        settings: Where data sets are that must be read.

    Raises:
        ConfigError, ModelError, DataError: the study is of another kind, or something of it is not known.
    """
    values = read_yaml(study, protocol=protocol)
    where = machine(on)
    if "architecture" in values:
        return foresee_training(_pretraining(study), where, name=study.stem)
    hints = Hints(like=like, made_by=_pretraining(made_by) if made_by else None)
    match values.get("study", "trace"):
        case "trace":
            return foresee_trace(
                read_study(study, TraceConfig, protocol=protocol), where, hints=hints, settings=settings
            )
        case "steer":
            return foresee_steering(
                read_study(study, SteerConfig, protocol=protocol), where, hints=hints, settings=settings
            )
        case "proxy_tune":
            return foresee_proxy_tuning(read_study(study, ProxyConfig, protocol=protocol), where, hints=hints)
        case "finetune":
            return foresee_finetuning(read_study(study, FinetuneConfig, protocol=protocol), where, hints=hints)
    raise ConfigError(
        f"{study}: there is no kind of study called {values['study']!r}; there are trace, steer, finetune and proxy_tune"
    )


def _pretraining(path: Path) -> PretrainConfig:
    values = read_yaml(path)
    values.pop("trace", None)
    return PretrainConfig.read(values, where=str(path))

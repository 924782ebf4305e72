"""Study files: YAML in, a checked config out."""

import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError

ConfigType = TypeVar("ConfigType", bound=Config)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def read_study(path: Path, kind: type[ConfigType]) -> ConfigType:
    """The study in the YAML file `path`, checked against `kind`; ``${NAME}`` in a text value is the environment variable NAME.

    Raises:
        ConfigError: the file is missing, not UTF-8, not YAML, not a mapping, or not a valid study; every problem is listed.
    """
    return kind.read(read_values(path), where=str(path))


def read_values(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file `path`, its ``${NAME}`` filled in from the environment.

    Raises:
        ConfigError: the file cannot be read, or a variable is not set.
    """
    values: dict[str, Any] = _with_variables(read_yaml(path), where=str(path))
    return values


def is_steering(path: Path) -> bool:
    """Whether the YAML file `path` says that it is a steering study; a trace need not say what it is.

    Raises:
        ConfigError: as for :func:`read_study`.
    """
    return bool(read_yaml(path).get("study") == "steer")


def is_finetuning(path: Path) -> bool:
    """Whether the YAML file `path` says that it is a fine-tuning study.

    Raises:
        ConfigError: as for :func:`read_study`.
    """
    return bool(read_yaml(path).get("study") == "finetune")


def is_proxy_tuning(path: Path) -> bool:
    """Whether the YAML file `path` says that it is a study of proxy-tuning.

    Raises:
        ConfigError: as for :func:`read_study`.
    """
    return bool(read_yaml(path).get("study") == "proxy_tune")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file `path`.

    Raises:
        ConfigError: as for :func:`read_study`.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such study file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give the study's YAML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def _with_variables(value: Any, *, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_variables(item, where=where) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_variables(item, where=where) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _variable(match[1], where=where), value)
    return value


def _variable(name: str, *, where: str) -> str:
    if name not in os.environ:
        raise ConfigError(
            f"{where} uses ${{{name}}}, but the environment has no {name}; set it, or write the value itself"
        )
    return os.environ[name]

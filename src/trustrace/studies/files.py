"""Study files: YAML in, a checked config out.

A file may say only in what it differs from another one::

    based_on: ../paper/figure4_rigorous.yaml   # beside this file
    sources: {source: EleutherAI/pythia-410m}  # in the place of that file's `sources`, whole

and it may hold a study in both protocols. What stands under ``published`` or ``rigorous`` is said under that protocol alone::

    published: {based_on: ../paper/figure4_published.yaml}
    rigorous: {based_on: ../paper/figure4_rigorous.yaml, dtype: bfloat16}
    sources: {source: EleutherAI/pythia-410m}
"""

import os
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError
from trustrace.core.measurements import Protocol

ConfigType = TypeVar("ConfigType", bound=Config)

BASED_ON = "based_on"
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def read_study(path: Path, kind: type[ConfigType], *, protocol: Protocol | None = None) -> ConfigType:
    """The study in the YAML file `path`, checked against `kind`; ``${NAME}`` in a text value is the environment variable NAME.

    Args:
        path: The file.
        kind: What is in it.
        protocol: Which one, of a file that holds a study in both protocols; ``rigorous`` if not given.

    Raises:
        ConfigError: the file, or one that it is based on, is missing, not UTF-8, not YAML, not a mapping, or not a valid study; every
            problem is listed. Or it holds no study under `protocol`.
    """
    return kind.read(read_values(path, protocol=protocol), where=str(path))


def read_values(path: Path, *, protocol: Protocol | None = None) -> dict[str, Any]:
    """The mapping in the YAML file `path`, its ``${NAME}`` filled in from the environment.

    Raises:
        ConfigError: the file cannot be read, or a variable is not set.
    """
    values: dict[str, Any] = _with_variables(read_yaml(path, protocol=protocol), where=str(path))
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


def read_yaml(path: Path, *, protocol: Protocol | None = None) -> dict[str, Any]:
    """The mapping in the YAML file `path`, what it is based on filled in.

    Raises:
        ConfigError: as for :func:`read_study`.
    """
    values = _resolved(path, protocol=protocol, above=())
    said = values.get("protocols", values.get("protocol", "rigorous"))
    if protocol and said not in (protocol, [protocol]):
        raise ConfigError(
            f"{path} holds a study under {said}, not under {protocol}; leave --protocol out, or name another file"
        )
    return values


def _resolved(path: Path, *, protocol: Protocol | None, above: tuple[Path, ...]) -> dict[str, Any]:
    """What the file says under `protocol`, over what the file says that it is based on."""
    if path.resolve() in above:
        raise ConfigError(f"{path} is based on itself, by way of {', '.join(map(str, above))}")
    content = _mapping(path)
    under = {name: content.pop(name) for name in PROTOCOLS if name in content}
    if under:
        content |= _under(under, protocol or "rigorous", path=path)
    if BASED_ON not in content:
        return content
    base = path.parent / str(content.pop(BASED_ON))
    if not base.is_file():
        raise ConfigError(
            f"{path} is based on {base}, which is not there; a relative path is looked up from the file that names it"
        )
    return _resolved(base, protocol=protocol, above=(*above, path.resolve())) | content


def _under(under: dict[Protocol, Any], protocol: Protocol, *, path: Path) -> dict[str, Any]:
    said = under.get(protocol)
    if not isinstance(said, dict):
        raise ConfigError(f"{path}: expected keys and values under {protocol!r}; it has {', '.join(under)}")
    return said


def _mapping(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file `path` as it stands there."""
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

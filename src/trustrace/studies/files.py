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
from trustrace.core.documents import DEEPEST, is_deep
from trustrace.core.errors import ConfigError
from trustrace.core.measurements import Protocol
from trustrace.core.secrets import is_secret

ConfigType = TypeVar("ConfigType", bound=Config)

BASED_ON = "based_on"
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

LARGEST = 1 << 20
"""Bytes of a study file."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Plain(yaml.SafeLoader):
    """YAML without aliases: nine of them, each made of nine of the one before, are a billion values."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node.

        Raises:
            ConfigError: it is an alias.
        """
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise ConfigError(
                f"line {line} holds an alias (*name); write the value out, or put it into a file of its own and name it under {BASED_ON}"
            )
        return super().compose_node(parent, index)


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


def is_steering(path: Path, *, protocol: Protocol | None = None) -> bool:
    """Whether the YAML file `path` says that it is a steering study; a trace need not say what it is.

    Raises:
        ConfigError: as for :func:`read_study`.
    """
    return bool(read_yaml(path, protocol=protocol).get("study") == "steer")


def is_finetuning(path: Path, *, protocol: Protocol | None = None) -> bool:
    """Whether the YAML file `path` says that it is a fine-tuning study.

    Raises:
        ConfigError: as for :func:`read_study`.
    """
    return bool(read_yaml(path, protocol=protocol).get("study") == "finetune")


def is_proxy_tuning(path: Path, *, protocol: Protocol | None = None) -> bool:
    """Whether the YAML file `path` says that it is a study of proxy-tuning.

    Raises:
        ConfigError: as for :func:`read_study`.
    """
    return bool(read_yaml(path, protocol=protocol).get("study") == "proxy_tune")


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
    named = content.pop(BASED_ON)
    if not isinstance(named, str):
        raise ConfigError(
            f"{path}: {BASED_ON}: expected one file's name, found {type(named).__name__} {named!r}; write {BASED_ON}: OTHER.yaml"
        )
    base = path.parent / named
    if not base.is_file():
        raise ConfigError(
            f"{path} is based on {base}, which is not there; a relative path is looked up from the file that names it"
        )
    return _resolved(base, protocol=protocol, above=(*above, path.resolve())) | content


def _under(under: dict[Protocol, Any], protocol: Protocol, *, path: Path) -> dict[str, Any]:
    if protocol not in under:
        others = " or ".join(f"--protocol {one}" for one in under)
        raise ConfigError(
            f"{path}: nothing stands under {protocol}, as which it is read; pass {others}, or write what {protocol} is"
        )
    said = under[protocol]
    if not isinstance(said, dict):
        raise ConfigError(f"{path}: expected keys and values under {protocol!r}, found {type(said).__name__}")
    return said


def _mapping(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file `path` as it stands there."""
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is larger than {LARGEST:,} bytes, which no study is; give the study's YAML file")
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Plain)  # noqa: S506 - it is a safe loader
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such study file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give the study's YAML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    # Beside its own errors the reader has those of the dates and numbers that it tries to make of a text.
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, LookupError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
    if is_deep(content) or any(not isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: expected texts as keys, and at most {DEEPEST} levels of them; write it flatter")
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
    if is_secret(name):
        raise ConfigError(
            f"{where} uses ${{{name}}}, whose name is that of a secret, and what a study says is written into its run folder and its "
            "report; keys are read from the environment by whoever needs them, so leave it out"
        )
    if name not in os.environ:
        raise ConfigError(
            f"{where} uses ${{{name}}}, but the environment has no {name}; set it, or write the value itself"
        )
    return os.environ[name]

"""Every error a user can cause, as one tree.

    TrustraceError
    ├── ConfigError        a study, preset or option that cannot be read
    ├── DataError          a dataset that cannot be used
    │   ├── AlignmentError     columns, rows or files that do not belong together
    │   └── IntegrityError     bytes that differ from their recorded hash
    ├── ModelError         a model or checkpoint that cannot be used
    │   ├── CheckpointError    a checkpoint that is missing, truncated or of another kind
    │   ├── TokenizerError     a tokenizer that is missing or does not fit
    │   └── UnsafeFileError    a file that would run code when read
    ├── MeasurementError   a number that cannot be computed from what was given
    ├── RunError           a run folder that is in the wrong state
    │   └── DiskFullError      no space left to write to
    ├── EndpointError      a model endpoint that is down, refuses, or answers nonsense
    │   └── EndpointDownError  one that gave no answer in all tries
    └── MissingExtraError  an optional dependency that is not installed

The command line prints the message of such an error alone and exits with its ``exit_code``; anything else is a bug and keeps its traceback.
"""

from trustrace.core.secrets import without_secrets


class TrustraceError(Exception):
    """A mistake that the user can mend; its message names what, where, what was expected and the way out, and holds no secret."""

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        # Messages go to terminals, logs, run folders and reports, and may repeat what a server or a library said.
        super().__init__(without_secrets(message))


class ConfigError(TrustraceError):
    """A study, preset or option that cannot be read."""


class DataError(TrustraceError):
    """A dataset that cannot be used."""


class AlignmentError(DataError):
    """Columns, rows or files that do not belong together."""


class IntegrityError(DataError):
    """Bytes that differ from their recorded hash."""


class ModelError(TrustraceError):
    """A model or checkpoint that cannot be used."""


class CheckpointError(ModelError):
    """A checkpoint that is missing, truncated or of another kind."""


class TokenizerError(ModelError):
    """A tokenizer that is missing or does not fit."""


class UnsafeFileError(ModelError):
    """A file that would run code when read."""


class MeasurementError(TrustraceError):
    """A number that cannot be computed from what was given."""


class RunError(TrustraceError):
    """A run folder that is in the wrong state."""

    exit_code = 3


class DiskFullError(RunError):
    """No space left to write to."""

    exit_code = 5


class EndpointError(TrustraceError):
    """A model endpoint that is down, refuses, or answers nonsense."""

    exit_code = 4


class EndpointDownError(EndpointError):
    """A model endpoint that gave no answer in all tries: waiting for it again costs as much again.

    Attributes:
        endpoint: Which one.
    """

    def __init__(self, message: str, *, endpoint: str) -> None:
        super().__init__(message)
        self.endpoint = endpoint


class MissingExtraError(TrustraceError):
    """An optional dependency that is not installed."""

    @classmethod
    def of(cls, package: str, *, extra: str, purpose: str) -> "MissingExtraError":
        """The error for `package`, which `purpose` needs and the extra `extra` brings."""
        return cls(f"{purpose} needs {package}, which is not installed; pip install 'trustrace[{extra}]'")

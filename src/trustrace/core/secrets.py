"""What must not be written down: passwords in addresses, signatures, and what the environment holds under a secret's name."""

import os
import re
from collections.abc import Mapping

SHORTEST = 8
"""Characters of a value that is blotted out; shorter ones occur in any text."""

_NAME = re.compile(r"(?i)token|secret|passw|credential|(^|_)key(_|$)|api_?key|(^|_)(pwd|auth)(_|$)")
_FOLDER = "PWD"
"""Where a shell is: no password, whatever its name."""

_FLAGS = re.compile(r"(?i)true|false|yes|no|on|off|\d*")
_USER = re.compile(r"(?<=://)[^/\s@'\"]+@")
_SIGNATURE = re.compile(
    r"(?i)([?&](?:x-amz-[\w-]+|signature|sig|policy|key-pair-id|\w*token|\w*key|password)=)[^&\s'\")]+"
)


def is_secret(variable: str) -> bool:
    """Whether an environment variable of this name holds a secret.

    Example:
        >>> [is_secret(name) for name in ("HF_TOKEN", "OPENAI_API_KEY", "DB_PWD", "KEYBOARD", "PWD")]
        [True, True, True, False, False]
    """
    return variable != _FOLDER and _NAME.search(variable) is not None


def without_secrets(text: str, *, environment: Mapping[str, str] | None = None) -> str:
    """`text` with every secret blotted out.

    Example:
        >>> without_secrets("https://me:pw@host/v1?sig=abc: hf_0123456789", environment={"HF_TOKEN": "hf_0123456789"})
        'https://[user]@host/v1?sig=[signature]: [HF_TOKEN]'
    """
    for name, value in (os.environ if environment is None else environment).items():
        if len(value) >= SHORTEST and is_secret(name) and value in text and not _FLAGS.fullmatch(value):
            text = text.replace(value, f"[{name}]")
    return _SIGNATURE.sub(r"\1[signature]", _USER.sub("[user]@", text))

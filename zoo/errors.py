"""Mistakes a user can make, each with a code and a sentence that a visitor can read.

Every message says what was given, what is allowed, and what to do next. Mistakes of ours stay asserts.
"""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar


class ZooError(Exception):
    """Something the user can mend. `code` is stable; `details` carries what a program may want to read."""

    code: ClassVar[str] = "ZOO_ERROR"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def as_json(self) -> dict[str, Any]:
        """The error as the command lines and the API print it."""
        return {"error": {"code": self.code, "message": self.message, **self.details}}


class InputEmpty(ZooError):
    """A field that must hold text holds none."""

    code = "INPUT_EMPTY"


class InputTooLong(ZooError):
    """A text is over the hard limit of characters, or does not fit the model in any way."""

    code = "INPUT_TOO_LONG"


class BadParameter(ZooError):
    """A parameter is outside its range, or of the wrong kind."""

    code = "BAD_PARAMETER"


class BadData(ZooError):
    """A data file cannot be read, or a row lacks what the task needs."""

    code = "BAD_DATA"


class UnknownModel(ZooError):
    """No checkpoint, folder or Hub repository of that name."""

    code = "MODEL_UNKNOWN"


class ModelUnavailable(ZooError):
    """The checkpoint exists but cannot be had now: offline, gated, or no connection."""

    code = "MODEL_UNAVAILABLE"


class DownloadFailed(ZooError):
    """A file broke off or did not arrive."""

    code = "DOWNLOAD_FAILED"


class BadCheckpoint(ZooError):
    """The files are not a checkpoint this zoo can read: a config, tokenizer or weight file is missing or broken."""

    code = "CHECKPOINT_BROKEN"


class CheckpointMismatch(ZooError):
    """The tensors do not fit the architecture. Carries the whole list: `missing`, `unexpected`, `misshapen`."""

    code = "WEIGHT_MISMATCH"

    def __init__(
        self, source: str, family: str, missing: Sequence[str], unexpected: Sequence[str], misshapen: Sequence[str]
    ) -> None:
        parts = [
            f"{len(names)} {word}" + (f" ({_some(names)})" if names else "")
            for word, names in (("missing", missing), ("unexpected", unexpected), ("of the wrong shape", misshapen))
        ]
        super().__init__(
            f"{source} does not fit {family}: {', '.join(parts)}. Nothing was loaded, because half-loaded weights "
            "give wrong answers. Check that config.json and the weights belong together.",
            missing=list(missing),
            unexpected=list(unexpected),
            misshapen=list(misshapen),
        )


class Unsupported(ZooError):
    """The model is there, but has no part for what was asked."""

    code = "UNSUPPORTED"


class OutOfMemory(ZooError):
    """The model does not fit the memory this process may use."""

    code = "OUT_OF_MEMORY"


class MissingPackage(ZooError):
    """An optional package is needed for this."""

    code = "MISSING_PACKAGE"


class Internal(ZooError):
    """A mistake of ours. The visitor learns an id; whoever makes it writes the id and the traceback to the log."""

    code = "INTERNAL"

    def __init__(self) -> None:
        self.ident = secrets.token_hex(4)
        super().__init__(f"Something broke on our side. If it happens again, report it with the id {self.ident}.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' with up to three close names, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")

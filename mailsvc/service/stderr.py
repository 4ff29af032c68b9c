"""
Standard error as it was when twistd was started: where the operator waits for the reason.

Twistd turns its own standard error into log events, and a daemon's into nothing; the parent of
a daemon says 80 octets of an exception, in quotation marks.
"""

import contextlib
import os
import sys
from typing import Any, TextIO, cast


class StandardError:
    """Keeps a way to the descriptor, past fork and logging, until it is closed."""

    def __init__(self) -> None:
        try:
            self._descriptor: int | None = os.dup(2)
        except OSError:
            self._descriptor = None  # We were started without one.

    def tell(self, text: str) -> None:
        """Write lines; nobody may be listening."""
        octets = f"{text}\n".encode("utf-8", "backslashreplace")
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, octets)

    def close(self) -> None:
        """Let it go: whoever waits for its end must not wait for the daemon."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _WithoutEcho:
    """
    The stream that twistd's parent process writes to, less what the daemon has told already.

    Args:
        stream: The real one.
        echo: What twistd's words hold when they only repeat us.
    """

    def __init__(self, stream: TextIO, echo: str) -> None:
        self._stream = stream
        self._echo = echo

    def write(self, text: str) -> int:
        return len(text) if self._echo in text else self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def silence_echo(echo: str) -> None:
    """Keep twistd's parent process from repeating a reason that was told already."""
    stream = sys.__stderr__
    if stream is not None:
        sys.__stderr__ = cast("Any", _WithoutEcho(stream, echo))  # type: ignore[misc]  # Final

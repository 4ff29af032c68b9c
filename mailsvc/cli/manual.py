"""The text of the manual: docs/administration.md, by topics, and config.yaml."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import mailsvc

_HOME = Path(mailsvc.__file__).parent
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_NAMES = {
    "Status": "status",
    "Accounts": "accounts",
    "Domains": "domains",
    "Aliases, groups and forwards": "aliases",
    "Start and stop services": "services",
    "Settings": "settings",
    "People who register themselves": "registration",
    "Sessions": "sessions",
    "Broadcasts": "broadcasts",
    "Filters": "filters",
    "Logs": "logs",
    "What happened to a message": "trace",
    "Mail for other servers": "queue",
    "Signatures and DNS": "dkim",
    "TLS": "tls",
    "Behind a proxy": "proxy",
    "Logins": "logins",
    "Limits": "limits",
    "Without the daemon": "offline",
    "Who did what": "audit",
    "For programs": "programs",
}
"""What is typed for each section of the manual."""


class Topic(NamedTuple):
    """
    One section of the manual.

    Args:
        name: What is typed.
        title: What it is about.
        text: Markdown, with its heading.
    """

    name: str
    title: str
    text: str


@cache
def topics() -> tuple[Topic, ...]:
    """Give all topics, in the order of the manual; the first one is about mailctl itself."""
    whole = _LINK.sub(r"\1", _read("administration.md", "docs"))
    first, *sections = re.split(r"^## ", whole, flags=re.MULTILINE)
    found = [Topic("mailctl", "mailctl itself", first)]
    for section in sections:
        title = section.partition("\n")[0].strip()
        found.append(Topic(_NAMES[title], title, f"## {section.rstrip()}\n"))
    return tuple(found)


def configuration() -> str:
    """Give config.yaml with its comments."""
    return _read("config.yaml", "")


def _read(name: str, folder: str) -> str:
    """Read a file that is in the package when it is installed, and beside it when it is not."""
    packed = _HOME / "docs" / name
    path = packed if packed.exists() else _HOME.parent / folder / name
    return path.read_text(encoding="utf-8")

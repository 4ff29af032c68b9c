"""Daemons for the tests of the whole service; none of them outlives its test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.support.daemon import Daemon, require

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[MakeDaemon]:
    """Make daemons that are not started yet, each in a folder of its own."""
    made: list[Daemon] = []

    def make(folder: Path | None = None, **arguments: Any) -> Daemon:
        place = folder or tmp_path / f"daemon{len(made)}"
        place.mkdir(exist_ok=True)
        made.append(Daemon(place, **arguments))
        return made[-1]

    yield make
    for one in made:
        one.clean_up()


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """Start one daemon on an empty folder."""
    return make_daemon().start()


def installed(name: str) -> str:
    """Find a mail client; skip the test where it is not installed."""
    path = which(name)
    require(path, f"{name} is not installed")
    return str(path)

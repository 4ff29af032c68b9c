"""Daemons for the tests of the whole service; none of them outlives its test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, MakeDaemon, note
from tests.support.small_disk import SmallDisk, mount, unmount


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
        note(f"The last words of {one.folder.name}:\n{one.last_words()}")


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """Start one daemon on an empty folder."""
    return make_daemon().start()


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """Mount disks that are full soon; root only."""
    mounted: list[Path] = []

    def make(name: str, folder: Path, *, mib: int) -> Path:
        place = folder / name
        mount(place, mib)
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        unmount(place)

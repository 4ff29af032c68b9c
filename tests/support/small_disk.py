"""Disks that are full soon: small file systems in memory, mounted for one test."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path

from tests.support.daemon import Stuck, require

SmallDisk = Callable[..., Path]
"""Mounts a disk: ``small_disk(name, folder, mib=24)``."""


def mount(place: Path, mib: int) -> None:
    """Mount an empty disk; skips the test where that is not allowed."""
    place.mkdir(exist_ok=True)
    options = f"size={mib}m,mode=0700,uid={os.geteuid()},gid={os.getegid()}"
    command = [*_as_root(), "mount", "-t", "tmpfs", "-o", options, "mailsvc-test", str(place)]
    done = subprocess.run(command, capture_output=True, check=False)
    require(done.returncode == 0, "only root may mount a small disk")


def unmount(place: Path) -> None:
    """Take it away, also while somebody still uses it."""
    subprocess.run([*_as_root(), "umount", "--lazy", str(place)], check=True)


def _as_root() -> list[str]:
    if os.geteuid() == 0 or shutil.which("sudo") is None:
        return []
    return ["sudo", "--non-interactive"]


def fill(place: Path, left_kib: int = 0) -> Path:
    """Fill a disk up with one file, which is given, but for a rest."""
    file = place / "filling"
    with file.open("wb") as filling:
        for _ in range(20):
            filling.truncate(0)
            room = os.statvfs(place)
            octets = room.f_bavail * room.f_frsize - left_kib * 1024
            try:
                os.posix_fallocate(filling.fileno(), 0, octets)
            except OSError as error:
                if error.errno != ENOSPC:
                    raise
                time.sleep(0.1)  # The daemon has written something in between.
            else:
                return file
    raise Stuck("the disk is never as full as it should be")

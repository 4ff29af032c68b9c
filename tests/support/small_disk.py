"""Disks that are full soon: small file systems in memory, mounted for one test."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import require

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
    room = os.statvfs(place)
    file = place / "filling"
    with file.open("wb") as filling:
        filling.truncate(0)
        os.posix_fallocate(filling.fileno(), 0, room.f_bavail * room.f_frsize - left_kib * 1024)
    return file

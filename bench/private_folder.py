"""A folder for the files of all servers, gone when the benchmark ends."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def private_folder(parent: Path, *, keep: bool) -> Iterator[Path]:
    """
    Make a folder, and remove it afterwards.

    Args:
        parent: On a real disk: fsync costs nothing in memory.
        keep: Whether to leave it there, to look at logs.
    """
    folder = Path(tempfile.mkdtemp(prefix="mailsvc-bench-", dir=parent))
    # The peers run as users of their own and must be able to pass.
    os.chmod(folder, 0o755)  # noqa: PTH101, S103 (peers drop root)
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder)

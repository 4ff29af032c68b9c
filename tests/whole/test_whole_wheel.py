"""What ``pip install`` makes is complete, without the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import program, run

ROOT = Path(__file__).parents[2]
MAKE_DATABASE = """
import sys
from mailsvc.store.engine import open_engines
from mailsvc.store.migrations import migrations
from mailsvc.store.schema import upgrade
import mailsvc
engines = open_engines("sqlite:///" + sys.argv[1], readers=1, writers=1)
print(mailsvc.__file__, migrations(), upgrade(engines))
engines.close()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package, alone, into a folder."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder), str(ROOT)], check=True)
    return folder


def test_the_migrations_are_inside(installed: Path, tmp_path: Path) -> None:
    """A daemon makes its database by itself, wherever it was installed."""
    ended = run(
        [sys.executable, "-c", MAKE_DATABASE, str(tmp_path / "mail.db")],
        folder=tmp_path,
        environment={"PYTHONPATH": str(installed)},
    )

    package, alembic, revision = ended.output.split()
    assert Path(package).is_relative_to(installed)
    assert Path(alembic).is_relative_to(installed)
    assert revision == max(file.name for file in Path(alembic, "versions").glob("*.py"))[:4]


def test_twistd_finds_the_plugin(installed: Path, tmp_path: Path) -> None:
    """No package of ours hides Twisted's own plugins."""
    assert not list((installed / "twisted").rglob("__init__.py"))
    listing = run(
        [*program("twistd"), "--help"],
        folder=tmp_path,
        environment={"PYTHONPATH": str(installed)},
    )
    assert " mailsvc " in listing.output
    assert " web " in listing.output

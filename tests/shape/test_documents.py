"""The documents tell the truth: links, commands, defaults."""

import re
import tomllib
from dataclasses import fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from mailsvc.config.load import load
from mailsvc.config.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of ours is a file of ours."""
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_ci_runs_the_command_of_the_readme() -> None:
    """Who follows the README runs what CI runs."""
    assert TEST_COMMAND in (ROOT / "README.md").read_text()
    assert TEST_COMMAND in (ROOT / ".ci/run").read_text()


def flat(section: Any, path: str = "") -> dict[str, Any]:
    """Give every setting by its path."""
    if is_dataclass(section):
        return {
            key: value
            for one in fields(section)
            for key, value in flat(getattr(section, one.name), f"{path}.{one.name}").items()
        }
    return {path: section}


def test_config_yaml_shows_the_defaults() -> None:
    """The file that we ship is the reference: each value in it is the default."""
    shown = flat(load(ROOT / "config.yaml"))
    defaults = flat(Settings())
    defaults[".state"] = ROOT / "state"

    assert shown == defaults


def test_config_yaml_shows_every_setting() -> None:
    """No setting is hidden."""
    text = (ROOT / "config.yaml").read_text()

    for path in flat(Settings()):
        assert re.search(rf"\b{path.rpartition('.')[2]}:", text), path


def test_every_dependency_has_its_reason() -> None:
    """A line in docs/dependencies.md for each."""
    reasons = (ROOT / "docs/dependencies.md").read_text().lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    for dependency in (*project["dependencies"], *extras):
        name = re.split(r"[^A-Za-z0-9-]", dependency)[0]
        assert name.lower() in reasons, name

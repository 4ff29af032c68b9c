"""What Twisted imports to find us must be light."""

import subprocess
import sys

import pytest

SHOW = "import sys; import {module}; print(*sorted(set(sys.modules) & {{{watched}}}))"


@pytest.mark.parametrize(
    ("module", "watched"),
    [
        ("twisted.plugins.mailsvc_plugin", "'twisted.internet.reactor', 'mailsvc', 'sqlalchemy'"),
        ("mailsvc.plugins.builtin", "'twisted.internet.reactor', 'sqlalchemy'"),
        ("mailsvc.cli.main", "'twisted.internet.reactor', 'sqlalchemy'"),
    ],
)
def test_importing_it_installs_no_reactor(module: str, watched: str) -> None:
    """A plugin that imports the reactor makes ``twistd --reactor=X`` fail."""
    shown = subprocess.run(
        [sys.executable, "-c", SHOW.format(module=module, watched=watched)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.strip() == ""

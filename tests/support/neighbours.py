"""Two and more daemons that send each other mail, each with its own database and domain."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from email.message import EmailMessage
from typing import Any

from tests.support.daemon import Daemon, MakeDaemon, wait_until

QUICK = {"first_retry": "2s", "longest_retry": "3s", "connect_timeout": "5s"}


def neighbours(
    make_daemon: MakeDaemon, *domains: str, outbound: Mapping[str, Any] | None = None
) -> Sequence[Daemon]:
    """Make daemons that know the way to each other; not started."""
    made = [
        make_daemon(settings={"hostname": f"mail.{name}", "first_run": {"domain": name}})
        for name in domains
    ]
    for one in made:
        one.settings["outbound"] = {
            **QUICK,
            **(outbound or {}),
            "routes": {
                other.domain.partition(".")[0]: route_to(other.domain, other.ports["mx"])
                for other in made
                if other is not one
            },
        }
        one.write_settings()
    return made


def route_to(domain: str, port: int, **more: Any) -> dict[str, Any]:
    """Name a way to a server on this machine."""
    return {"domains": [domain], "host": "127.0.0.1", "port": port, **more}


def send(daemon: Daemon, user: str, *to: str, subject: str = "hello", **options: Any) -> None:
    """Send a message as a user."""
    mail = EmailMessage()
    mail["From"], mail["To"] = f"{user}@{daemon.domain}", ", ".join(to)
    mail["Subject"] = subject
    mail.set_content("你好\n.\nlast line\n")
    with closing(daemon.submission(user)) as client:
        client.send_message(mail, to_addrs=to, **options)
        client.quit()


def maildrop(daemon: Daemon, user: str) -> list[bytes]:
    """Fetch all mail of a user, and leave it there."""
    with closing(daemon.pop3(user)) as client:
        count, _ = client.stat()
        found = [b"\r\n".join(client.retr(one + 1)[1]) for one in range(count)]
        client.quit()
    return found


def subjects(daemon: Daemon, user: str) -> list[str]:
    """List the subjects of a user's mail."""
    return [
        found[1].decode() if (found := re.search(rb"(?m)^Subject: (.*?)\r?$", one)) else ""
        for one in maildrop(daemon, user)
    ]


def arrives(daemon: Daemon, user: str, *wanted: str) -> None:
    """Wait until a user has exactly these messages."""
    wait_until(
        lambda: sorted(subjects(daemon, user)) == sorted(wanted), f"{wanted} at {daemon.domain}"
    )

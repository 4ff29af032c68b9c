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


def north_with(
    make_daemon: MakeDaemon, *routes: Mapping[str, Any], prefix: Sequence[str] = (), **outbound: Any
) -> Daemon:
    """Start a daemon with these ways to other servers; a server that is away waits for an hour."""
    settings = {
        "hostname": "mail.north.test",
        "first_run": {"domain": "north.test"},
        "outbound": {
            **QUICK,
            "first_retry": "1h",
            "routes": {f"way{number}": dict(one) for number, one in enumerate(routes)},
            **outbound,
        },
    }
    return make_daemon(settings=settings, prefix=prefix).start()


def send(
    daemon: Daemon,
    user: str,
    *to: str,
    subject: str = "hello",
    tls: bool = False,
    **options: Any,
) -> None:
    """Send a message as a user, over TLS where asked for; *options* as smtplib takes them."""
    mail = EmailMessage()
    mail["From"], mail["To"] = f"{user}@{daemon.domain}", ", ".join(to)
    mail["Subject"] = subject
    mail.set_content("你好\n.\nlast line\n")
    with closing(daemon.submission(user, tls=tls)) as client:
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


def waiting(daemon: Daemon) -> list[dict[str, Any]]:
    """List the recipients that wait."""
    found: list[dict[str, Any]] = daemon.mailctl("queue", "list", "--json").parsed
    return found


def last_attempt(daemon: Daemon) -> dict[str, Any]:
    """Give the latest attempt to deliver, once there is one, with all that was said."""
    wait_until(lambda: attempts(daemon), "an attempt")
    return max(attempts(daemon), key=lambda one: one["started"])


def attempts(daemon: Daemon) -> list[dict[str, Any]]:
    """List all attempts to deliver, each with what was said."""
    queued = daemon.mailctl("trail", "search", "--event", "queued", "--json").parsed
    shown = [daemon.mailctl("queue", "show", one["message"], "--json") for one in queued]
    return [attempt for one in shown for attempt in one.parsed["attempts"]]

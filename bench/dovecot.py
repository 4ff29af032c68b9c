"""Run a private Dovecot 2.3: own configuration, passwords and Maildirs."""

import os
from collections.abc import Iterable
from pathlib import Path

from bench import maildir, messages
from bench.daemon import Daemon, free_port, require
from bench.server import GivesMail

PASSWORD = "open.sesame"  # noqa: S105 (of throw-away mailboxes)

_CONFIG = """\
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = {protocols}
listen = 127.0.0.1
ssl = no
postmaster_address = postmaster@{domain}
mail_location = maildir:{mail}/%n
first_valid_uid = {owner}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/passwd
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner} home={mail}/%n
}}
"""

_POP3 = """\
service pop3-login {{
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
  {login}
}}
"""

# https://doc.dovecot.org/2.3/admin_manual/login_processes/ "High-performance mode"
_FAST_LOGIN = """\
service_count = 0
  client_limit = 1000
  process_min_avail = 2
  vsz_limit = 1G"""

_REUSED_POP3 = """\
service pop3 {
  service_count = 256
  process_min_avail = 4
}
"""

_LMTP = """\
service lmtp {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
"""


class Dovecot(GivesMail):
    """Dovecot with its default login processes: one for each connection."""

    name = "Dovecot"
    protocols = "pop3"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mail = folder / "mail"
        self.pop3_port = free_port()

    def start(self) -> None:
        """Write the configuration and start."""
        require("dovecot")
        if not self.folder.exists():
            self._configure()
        command: list[str | Path] = ["dovecot", "-F", "-c"]
        self.daemon = Daemon([*command, self.folder / "dovecot.conf"], self.folder)
        self.await_start(self.daemon)

    def await_start(self, daemon: Daemon) -> None:
        """Wait until it takes connections."""
        daemon.await_greeting(self.pop3_port)

    def password(self, user: int) -> str:  # noqa: ARG002 (mailsvc's differ)
        """Tell the password of a user."""
        return PASSWORD

    def fill(self, user: int, prefix: str, count: int, octets: int) -> None:
        """Put so many messages into a user's mailbox, as its LMTP service would."""
        tokens = (messages.token(prefix, index, octets) for index in range(count))
        maildir.fill(self.mail / f"u{user}", tokens)

    def chill(self, users: Iterable[int]) -> None:
        """Forget what is known of mailboxes, so that they are opened cold."""
        self.stop()
        for user in users:
            for index in (self.mail / f"u{user}").glob("dovecot*"):
                index.unlink()
        self.start()

    def service(self) -> str:
        """Write the part of the configuration that says how clients come in."""
        return _POP3.format(port=self.pop3_port, login=self.login())

    def login(self) -> str:
        """Write what deviates from the defaults of login processes."""
        return ""

    def _configure(self) -> None:
        self.folder.mkdir()
        self.mail.mkdir()
        os.chown(self.mail, maildir.OWNER, maildir.OWNER)
        config = _CONFIG.format(
            folder=self.folder,
            protocols=self.protocols,
            domain=messages.DOMAIN,
            mail=self.mail,
            owner=maildir.OWNER,
        )
        users = (f"{messages.address(n)}:{{PLAIN}}{PASSWORD}\n" for n in range(messages.USERS))
        (self.folder / "dovecot.conf").write_text(config + self.service())
        (self.folder / "passwd").write_text("".join(users))


class FastDovecot(Dovecot):
    """Dovecot with its high-performance login: few processes, many connections each."""

    name = "Dovecot, fast login"

    def login(self) -> str:
        """Keep login processes for many connections."""
        return _FAST_LOGIN


class ReusedDovecot(FastDovecot):
    """Dovecot that also keeps its POP3 processes for many sessions, which is not its default."""

    name = "Dovecot, all reused"

    def service(self) -> str:
        """Keep POP3 processes for many sessions."""
        return super().service() + _REUSED_POP3


class Lmtp(Dovecot):
    """Dovecot that takes mail in by LMTP, for a Postfix before it."""

    name = "Dovecot LMTP"
    protocols = "lmtp"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.socket = folder / "lmtp"

    def service(self) -> str:
        """Listen on a socket that Postfix may open."""
        return _LMTP.format(socket=self.socket)

    def await_start(self, daemon: Daemon) -> None:
        """Wait for the socket."""
        daemon.wait_for(self.socket.is_socket)

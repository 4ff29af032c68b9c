"""
Run a private Postfix with its defaults: own configuration, queue and mailboxes.

`master` must start as root; Postfix itself then drops what it need not have.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from bench import maildir, messages
from bench.daemon import Daemon, free_port, require
from bench.dovecot import Lmtp
from bench.errors import Stuck
from bench.server import TakesMail

_DAEMONS = Path("/usr/lib/postfix/sbin")
_QUEUES = ("maildrop", "incoming", "active", "deferred")
_PATIENCE = 300
"""Seconds that the queue may take."""

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = postfix.bench.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {mail}
virtual_mailbox_maps = hash:{folder}/etc/users
virtual_uid_maps = static:{owner}
virtual_gid_maps = static:{owner}
virtual_transport = {transport}
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/etc/chain.pem
"""

# Debian's master.cf, without chroot: the queue has no copies of system files.
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(TakesMail):
    """Postfix that delivers to Maildirs by virtual(8)."""

    name = "Postfix"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.smtp_port = free_port()
        self.mail = folder / "mail"
        self.transport = "virtual"

    def start(self) -> None:
        """Write the configuration, make the queue and start `master`."""
        require("postfix")
        self._configure()
        etc = self.folder / "etc"
        subprocess.run(["postmap", "-c", etc, f"hash:{etc}/users"], check=True)
        subprocess.run(["postfix", "-c", etc, "check"], check=True)
        # A session leader, as master must be; -d keeps it in the foreground.
        self.daemon = Daemon([_DAEMONS / "master", "-c", etc, "-d"], self.folder)
        self.daemon.await_greeting(self.smtp_port)

    def settle(self, ended: float) -> float:
        """Wait until the queue is empty."""
        while any(_has_file(self.folder / "queue" / queue) for queue in _QUEUES):
            if time.monotonic() > ended + _PATIENCE:
                raise Stuck(f"Postfix has mail in its queue; see {self.folder}/mail.log")
            time.sleep(0.01)
        return time.monotonic()

    def tokens(self) -> list[list[bytes]]:
        """Name the messages in every mailbox, each read and compared whole."""
        return [maildir.tokens(self.mail / f"u{user}") for user in range(messages.USERS)]

    def _configure(self) -> None:
        folder = self.folder
        for part in (folder, folder / "etc", folder / "data", folder / "queue"):
            part.mkdir()
        shutil.chown(folder / "data", "postfix")
        self.mail.mkdir(exist_ok=True)
        os.chown(self.mail, maildir.OWNER, maildir.OWNER)
        main = _MAIN.format(
            folder=folder,
            domain=messages.DOMAIN,
            mail=self.mail,
            owner=maildir.OWNER,
            transport=self.transport,
        )
        users = (f"{messages.address(user)} u{user}/\n" for user in range(messages.USERS))
        (folder / "etc" / "main.cf").write_text(main)
        (folder / "etc" / "master.cf").write_text(_MASTER.format(port=self.smtp_port))
        (folder / "etc" / "users").write_text("".join(users))
        _make_certificate(folder / "etc" / "chain.pem")


class PostfixDovecot(Postfix):
    """Postfix that hands its mail to Dovecot by LMTP, as most of them do."""

    name = "Postfix+Dovecot"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "postfix")
        folder.mkdir()
        self._dovecot = Lmtp(folder / "dovecot")
        self.mail = self._dovecot.mail
        self.transport = f"lmtp:unix:{self._dovecot.socket}"

    def start(self) -> None:
        """Start Dovecot, then Postfix."""
        self._dovecot.start()
        super().start()

    def stop(self) -> None:
        """Stop both."""
        try:
            super().stop()
        finally:
            self._dovecot.stop()

    def cpu_seconds(self) -> float:
        """Tell the CPU time that both have used."""
        return super().cpu_seconds() + self._dovecot.cpu_seconds()


def _make_certificate(path: Path) -> None:
    """Write key and certificate of the kind that mailsvc makes for itself."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=postfix.bench.example", "-days", "30"]
    parts = [path.with_suffix(".key"), path.with_suffix(".crt")]
    places = ["-keyout", str(parts[0]), "-out", str(parts[1])]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *name, *places], check=True, stderr=subprocess.DEVNULL
    )
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


def _has_file(folder: Path) -> bool:
    # Asks for the first name only: a look must be cheap beside the work it waits for.
    with os.scandir(folder) as entries:
        return any(entry.is_file() or _has_file(Path(entry.path)) for entry in entries)

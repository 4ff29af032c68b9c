"""A private Postfix that sends to our daemon: own configuration, queue and log."""

import os
import shutil
import smtplib
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.support.daemon import free_ports, require, wait_until

_DAEMONS = Path("/usr/lib/postfix/sbin")

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = postfix.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtputf8_enable = yes
default_transport = {transport}
smtp_tls_security_level = {tls}
smtp_tls_loglevel = 1
lmtp_tls_security_level = {tls}
minimal_backoff_time = 1s
queue_run_delay = 1s
"""

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
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class PostfixPeer:
    """
    One Postfix that relays everything to one place.

    Args:
        folder: Of its own; readable for everybody, for it drops its privileges.
        transport: Where to, as ``default_transport`` has it.
        tls: ``none``, ``may`` or ``encrypt``.
    """

    def __init__(self, folder: Path, transport: str, tls: str) -> None:
        self._folder = folder
        self.port = free_ports(1)[0]
        etc = folder / "etc"
        for part in (etc, folder / "data", folder / "queue"):
            part.mkdir()
        shutil.chown(folder / "data", "postfix")
        main = _MAIN.format(folder=folder, transport=transport, tls=tls)
        (etc / "main.cf").write_text(main)
        (etc / "master.cf").write_text(_MASTER.format(port=self.port))
        subprocess.run(["postfix", "-c", etc, "check"], check=True)
        # A session leader, as master must be; -d keeps it in the foreground.
        self._process = subprocess.Popen(
            [_DAEMONS / "master", "-c", etc, "-d"], start_new_session=True
        )
        wait_until(self._greets, "a greeting of Postfix")

    @property
    def log(self) -> str:
        """What it has logged."""
        path = self._folder / "mail.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def send(
        self, sender: str, recipients: Sequence[str], message: bytes, options: Sequence[str] = ()
    ) -> None:
        """Hand it a message, and wait until it has got rid of it."""
        before = self.log.count(": removed")
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            refused = client.sendmail(sender, recipients, message, mail_options=options)
        assert not refused, refused
        wait_until(lambda: self.log.count(": removed") > before, "an empty queue of Postfix")

    def stop(self) -> None:
        """End it and what it has started."""
        self._process.terminate()
        self._process.wait(30)

    def _greets(self) -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=30):
                return True
        except OSError:
            return False


@contextmanager
def postfix_peer(transport: str, tls: str) -> Iterator[PostfixPeer]:
    """Run one for the time of a test; root only, for its master must be root."""
    require(
        _DAEMONS.is_dir() and os.geteuid() == 0, "Postfix is not installed, or this is not root"
    )
    folder = Path(mkdtemp(prefix="postfix-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        peer = PostfixPeer(folder, transport, tls)
        try:
            yield peer
        finally:
            peer.stop()
    finally:
        shutil.rmtree(folder)

"""TLS between the real daemon and clients that we did not write."""

import os
import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from poplib import POP3, POP3_SSL
from smtplib import SMTP, SMTP_SSL
from typing import Any

import pytest
from cryptography import x509

from tests.support.certificates import make_certificate, serial_of
from tests.support.daemon import Daemon, MakeDaemon, free_ports, installed, require, run, wait_until
from tests.support.letters import check_letter, letter

ALICE, BOB = "alice@test.com", "bob@test.com"
LETTER = letter(ALICE, BOB)
HERE = "127.0.0.1"
NOBODY = 65_534
"""A user of every machine that owns nothing."""
IMPLICIT = {"submissions": "submission", "pop3s": "pop3"}


def make(make_daemon: MakeDaemon, **settings: Any) -> Daemon:
    """Make a daemon that has all five listeners."""
    daemon = make_daemon(settings=settings)
    for (name, kind), port in zip(IMPLICIT.items(), free_ports(2), strict=True):
        daemon.add_listener(name, {"kind": kind, "port": port, "tls": "implicit"})
    return daemon


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """Start one with its own certificate, that lets nobody log in without TLS."""
    return make(make_daemon, login={"without_tls": "never"}).start()


def trusting(daemon: Daemon) -> ssl.SSLContext:
    """Trust the certificate that the daemon has made, and nothing else."""
    return ssl.create_default_context(cafile=daemon.state / "tls/certificate.pem")


def old_client(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Speak one version of TLS and trust everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


def serial_shown(port: int, name: str | None = None) -> int:
    """Connect with TLS and give the serial number of the certificate."""
    context = old_client(ssl.TLSVersion.TLSv1_3)
    line = socket.create_connection((HERE, port), 10)
    with context.wrap_socket(line, server_hostname=name) as secure:
        shown = secure.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(shown or b"").serial_number


@contextmanager
def connected(port: int, *steps: tuple[bytes, bytes]) -> Iterator[socket.socket]:
    """Connect without TLS, say each step and hear how its answer begins."""
    with socket.create_connection((HERE, port), 10) as line:
        for said, answer in steps:
            if said:
                line.sendall(said)
            heard = line.recv(4096)
            assert heard.startswith(answer), heard
        yield line


def rest_of(line: socket.socket) -> bytes:
    """Read until the daemon hangs up."""
    heard = b""
    try:
        while octets := line.recv(4096):
            heard += octets
    except ConnectionResetError:
        pass
    return heard


GREETED = ((b"", b"220 "), (b"EHLO evil.example\r\n", b"250-"))


class TestClients:
    """A hard letter, octet for octet."""

    @pytest.mark.parametrize("implicit", [False, True])
    def test_python_sends_and_collects(self, daemon: Daemon, *, implicit: bool) -> None:
        """``smtplib`` and ``poplib``, both ways, checking the certificate."""
        context = trusting(daemon)
        sender: SMTP
        reader: POP3
        if implicit:
            sender = SMTP_SSL("localhost", daemon.ports["submissions"], context=context)
            reader = POP3_SSL("localhost", daemon.ports["pop3s"], context=context)
        else:
            sender = SMTP("localhost", daemon.ports["submission"])
            sender.starttls(context=context)
            reader = POP3("localhost", daemon.ports["pop3"])
            reader.stls(context)
        sender.login(ALICE, daemon.passwords["alice"])
        assert sender.sendmail(ALICE, [BOB], LETTER) == {}
        sender.quit()
        reader.user(BOB)
        reader.pass_(daemon.passwords["bob"])
        lines = reader.retr(1)[1]
        reader.quit()

        stored = b"\r\n".join(lines) + b"\r\n"
        check_letter(stored, LETTER)
        assert b"with ESMTPSA" in stored.partition(b"Subject:")[0]

    @pytest.mark.parametrize("implicit", [False, True])
    def test_curl_sends_and_collects(
        self, daemon: Daemon, tmp_path: Path, *, implicit: bool
    ) -> None:
        """With ``--ssl-reqd``, checking the certificate."""
        curl = installed("curl")
        sent, collected = tmp_path / "sent.eml", tmp_path / "collected.eml"
        sent.write_bytes(LETTER)
        smtp, pop3 = ("submissions", "pop3s") if implicit else ("submission", "pop3")
        s = "s" if implicit else ""
        send = [f"smtp{s}://localhost:{daemon.ports[smtp]}", "--mail-from", ALICE]
        send += ["--mail-rcpt", BOB, "--upload-file", str(sent)]
        collect = [f"pop3{s}://localhost:{daemon.ports[pop3]}/1", "--output", str(collected)]

        for user, arguments in (("alice", send), ("bob", collect)):
            login = ["--user", f"{user}@test.com:{daemon.passwords[user]}"]
            trust = ["--ssl-reqd", "--cacert", str(daemon.state / "tls/certificate.pem")]
            ended = run([curl, "-sS", *trust, *login, *arguments])
            assert (ended.status, ended.errors) == (0, "")

        check_letter(collected.read_bytes(), LETTER)

    @pytest.mark.parametrize("starttls", ["smtp", "pop3", ""])
    def test_openssl_is_content(self, daemon: Daemon, starttls: str) -> None:
        """``s_client`` verifies certificate and name, and finds TLS 1.3."""
        port = daemon.ports[{"smtp": "mx", "pop3": "pop3", "": "submissions"}[starttls]]
        command = [installed("openssl"), "s_client", "-connect", f"localhost:{port}", "-brief"]
        command += ["-CAfile", str(daemon.state / "tls/certificate.pem")]
        command += ["-verify_return_error", "-verify_hostname", "mail.test.com"]
        command += ["-starttls", starttls] if starttls else []

        ended = run(command, given="QUIT\r\n")

        said = ended.output + ended.errors
        assert "Verification: OK" in said, said
        assert "TLSv1.3" in said, said

    def test_a_large_message_comes_and_goes(self, daemon: Daemon) -> None:
        """Many TLS records, in both directions, with a reader that is slow at times."""
        big = LETTER + b"".join(b"%099d\r\n" % number for number in range(100_000))
        sender = SMTP("localhost", daemon.ports["mx"])
        sender.starttls(context=trusting(daemon))
        sender.sendmail("x@a.example", [BOB], big)
        sender.quit()
        reader = POP3_SSL("localhost", daemon.ports["pop3s"], context=trusting(daemon))
        reader.user(BOB)
        reader.pass_(daemon.passwords["bob"])
        reader._putcmd("RETR 1")  # type: ignore[attr-defined]  # noqa: SLF001 - let it wait
        time.sleep(0.5)
        lines = reader._getlongresp()[1]  # type: ignore[attr-defined]  # noqa: SLF001
        reader.quit()

        check_letter(b"\r\n".join(lines) + b"\r\n", big)

    def test_logins_need_tls(self, daemon: Daemon) -> None:
        """``login.without_tls: never``."""
        with connected(daemon.ports["submission"], *GREETED) as line:
            line.sendall(b"AUTH PLAIN AGFsaWNl\r\n")
            assert line.recv(512).startswith(b"538 5.7.11")
        with connected(daemon.ports["pop3"], (b"", b"+OK")) as line:
            line.sendall(b"USER alice\r\n")
            assert line.recv(512).startswith(b"-ERR")

    def test_many_replies_are_prompt(self, daemon: Daemon) -> None:
        """One command after the other: none waits for a timer (40 ms of Nagle)."""
        client = SMTP_SSL("localhost", daemon.ports["submissions"], context=trusting(daemon))
        client.ehlo()
        began = time.monotonic()
        for _ in range(200):
            client.noop()

        assert time.monotonic() - began < 4
        client.quit()


class TestAttacks:
    """What somebody on the way, or a bad client, may try."""

    def test_commands_behind_starttls_do_not_run(self, daemon: Daemon) -> None:
        """In one segment with it: CVE-2011-0411."""
        evil = b"MAIL FROM:<evil@a.example>\r\nRCPT TO:<bob@test.com>\r\nDATA\r\n"
        with connected(daemon.ports["mx"], *GREETED) as line:
            line.sendall(b"STARTTLS\r\n" + evil)
            assert rest_of(line).splitlines() == [
                b"503 5.5.1 Nothing may follow STARTTLS before TLS"
            ]
        with connected(daemon.ports["pop3"], (b"", b"+OK")) as line:
            line.sendall(b"STLS\r\nCAPA\r\n")
            assert rest_of(line).splitlines() == [b"-ERR nothing may follow STLS before TLS"]

    def test_commands_behind_the_220_do_not_run(self, daemon: Daemon) -> None:
        """They are no TLS."""
        with connected(daemon.ports["mx"], *GREETED, (b"STARTTLS\r\n", b"220 ")) as line:
            line.sendall(b"EHLO evil.example\r\nMAIL FROM:<evil@a.example>\r\n")
            heard = rest_of(line)

        assert b"250" not in heard
        wait_until(lambda: "no TLS with 127.0.0.1: " in daemon.output, "a line in the log")
        assert "Traceback" not in daemon.output

    def test_what_was_said_before_tls_is_forgotten(self, daemon: Daemon) -> None:
        """Hello, sender and recipient."""
        client = SMTP("localhost", daemon.ports["mx"])
        client.ehlo("evil.example")
        client.mail("evil@a.example")
        client.rcpt(BOB)
        client.starttls(context=trusting(daemon))

        assert client.docmd("DATA")[0] == 503
        assert client.docmd("MAIL", "FROM:<x@a.example>")[0] == 503
        client.ehlo("client.example")
        assert client.docmd("RCPT", "TO:<bob@test.com>")[0] == 503
        client.quit()

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    @pytest.mark.parametrize("name", ["mx", "submissions", "pop3s"])
    def test_old_versions_are_refused(self, daemon: Daemon, name: str) -> None:
        """TLS 1.1 is history (RFC 8996), TLS 1.2 is not."""
        for version, welcome in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
            steps = (*GREETED, (b"STARTTLS\r\n", b"220 ")) if name == "mx" else ()
            with connected(daemon.ports[name], *steps) as line:
                try:
                    with old_client(version).wrap_socket(line) as secure:
                        assert secure.version() == "TLSv1.2"
                except (ssl.SSLError, ConnectionResetError):
                    assert not welcome
                else:
                    assert welcome

    def test_who_never_agrees_is_cut_off(self, make_daemon: MakeDaemon) -> None:
        """After ``tls.handshake_timeout``, before TLS and behind STARTTLS; no session is left."""
        daemon = make(make_daemon, tls={"handshake_timeout": 1}).start()
        began = time.monotonic()
        steps = (*GREETED, (b"STARTTLS\r\n", b"220 "))
        with connected(daemon.ports["mx"], *steps) as behind:
            with connected(daemon.ports["submissions"]) as silent:
                silent.sendall(b"\x16\x03\x01")
                assert rest_of(silent) == b""
            assert rest_of(behind) == b""

        assert 0.9 < time.monotonic() - began < 5
        listeners = daemon.mailctl("status", "--json").parsed["listeners"]
        assert {one["sessions"] for one in listeners} == {0}

    def test_a_client_that_vanishes_leaves_nothing(self, daemon: Daemon) -> None:
        """Before, in and after the handshake, with and without a good-bye."""
        for name in ("submissions", "pop3s"):
            for start in (b"", b"\x16", b"garbage\r\n"):
                with connected(daemon.ports[name]) as line:
                    line.sendall(start)
            secure = trusting(daemon).wrap_socket(
                socket.create_connection((HERE, daemon.ports[name])), server_hostname="localhost"
            )
            secure.close()

        def no_sessions() -> bool:
            listeners = daemon.mailctl("status", "--json").parsed["listeners"]
            return all(one["sessions"] == 0 for one in listeners)

        wait_until(no_sessions, "the end of all sessions")
        assert "Traceback" not in daemon.output


class TestCertificates:
    """Those of the operator."""

    def test_one_is_made_on_the_first_start(self, daemon: Daemon) -> None:
        """And kept; its key is nobody else's."""
        folder = daemon.state / "tls"
        first = serial_of(folder / "certificate.pem")

        assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        daemon.stop()
        daemon.start(("mx",))
        assert serial_shown(daemon.ports["pop3s"]) == first

    def test_clients_choose_by_name(self, make_daemon: MakeDaemon, tmp_path: Path) -> None:
        """One address for many domains."""
        first = make_certificate(tmp_path, "mail.test.com")
        second = make_certificate(tmp_path, "*.other.example")
        files = [
            {"certificate": str(one.certificate), "key": str(one.key)} for one in (first, second)
        ]
        daemon = make(make_daemon, tls={"certificates": files}).start()
        port = daemon.ports["submissions"]

        assert serial_shown(port, "mail.other.example") == serial_of(second.certificate)
        assert serial_shown(port, "mail.test.com") == serial_of(first.certificate)
        assert serial_shown(port) == serial_of(first.certificate)
        assert not (daemon.state / "tls").exists()

    def test_a_renewed_one_is_shown_without_a_restart(
        self, make_daemon: MakeDaemon, tmp_path: Path
    ) -> None:
        """And a renewal that went wrong changes nothing."""
        files = make_certificate(tmp_path, "mail.test.com")
        named = {"certificate": str(files.certificate), "key": str(files.key)}
        daemon = make(make_daemon, tls={"certificates": [named], "look_every": 0.1}).start()
        port = daemon.ports["pop3s"]
        before = serial_shown(port, "mail.test.com")

        make_certificate(tmp_path, "mail.test.com")
        after = serial_of(files.certificate)
        wait_until(lambda: serial_shown(port, "mail.test.com") == after, "the renewed one")
        assert before != after
        files.key.write_text("nothing")
        wait_until(lambda: "the old certificates stay" in daemon.output, "a line in the log")

        assert serial_shown(port, "mail.test.com") == after
        assert daemon.output.count("the old certificates stay") == 1

    def test_a_broken_one_stops_the_start(self, make_daemon: MakeDaemon, tmp_path: Path) -> None:
        """In one line, before a port is open."""
        files = make_certificate(tmp_path, "mail.test.com")
        files.key.write_text("nothing")
        named = {"certificate": str(files.certificate), "key": str(files.key)}
        ended = make(make_daemon, tls={"certificates": [named]}).try_to_start()

        assert ended.status != 0
        assert ended.errors == (
            f"mailsvc: {files.key}: there is no private key in it; "
            "name a PEM file in tls.certificates\n"
        )
        assert "Traceback" not in ended.output

    def test_a_key_of_root_is_read_before_root_is_left(
        self, make_daemon: MakeDaemon, tmp_path: Path
    ) -> None:
        """``twistd --uid``: as with ports below 1024."""
        require(os.geteuid() == 0, "only root can become somebody else")
        folder = Path(tempfile.mkdtemp(prefix="mailsvc-uid-", dir="/var/tmp"))
        folder.chmod(0o711)
        try:
            files = make_certificate(tmp_path, "mail.test.com")
            files.key.chmod(0o600)
            named = {"certificate": str(files.certificate), "key": str(files.key)}
            become = f'twistd=$1; shift; exec "$twistd" --uid={NOBODY} --gid={NOBODY} "$@"'
            daemon = make_daemon(
                folder,
                settings={"tls": {"certificates": [named]}},
                prefix=["sh", "-c", become, "sh"],
            )
            os.chown(folder, NOBODY, NOBODY)
            daemon.start()
            client = SMTP(HERE, daemon.ports["mx"])
            client.starttls(context=old_client(ssl.TLSVersion.TLSv1_3))
            client.quit()
            assert daemon.database.stat().st_uid == NOBODY
            assert daemon.stop() == 0
        finally:
            shutil.rmtree(folder)

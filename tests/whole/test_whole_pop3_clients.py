"""POP3 clients that we did not write: every way to log in, with and without TLS."""

import json
import mailbox
import os
import pty
import re
import socket
import ssl
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from poplib import POP3, POP3_SSL, error_proto
from select import select

import pytest

from tests.support.daemon import Daemon, free_ports, installed, note, require, run, wait_until
from tests.support.letters import check_letter, letter

ALICE, BOB = "alice@test.com", "bob@test.com"
HERE = "127.0.0.1"
LETTER = letter(ALICE, BOB)
NODE = Path(__file__).parents[1] / "support/node"
LINES = ("plain", "stls", "tls")
"""TLS never, behind STLS, or from the first octet."""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Start one daemon for all tests of this file."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), {"pop3": {"stalled_timeout": 1}})
    [port] = free_ports(1)
    daemon.add_listener("pop3s", {"kind": "pop3", "port": port, "tls": "implicit"})
    yield daemon.start()
    daemon.clean_up()


@pytest.fixture
def daemon(started: Daemon) -> Daemon:
    """Empty Bob's maildrop, in which other tests have left something."""
    reader = started.pop3("bob")
    for number in range(1, reader.stat()[0] + 1):
        reader.dele(number)
    reader.quit()
    return started


def send(daemon: Daemon, *texts: bytes) -> None:
    """Let Alice send some messages to Bob."""
    client = daemon.submission("alice")
    for text in texts:
        assert client.sendmail(ALICE, [BOB], text) == {}
    client.quit()


def about(subject: str) -> bytes:
    """Write a short message."""
    return f"From: {ALICE}\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()


def port_of(daemon: Daemon, line: str) -> int:
    """Find the port for a kind of line."""
    return daemon.ports["pop3s" if line == "tls" else "pop3"]


def trusting(daemon: Daemon) -> ssl.SSLContext:
    """Trust the certificate that the daemon has made, and nothing else."""
    return ssl.create_default_context(cafile=certificate_of(daemon))


def certificate_of(daemon: Daemon) -> Path:
    """Find the certificate that the daemon has made."""
    return daemon.state / "tls/certificate.pem"


def check_collected(octets: bytes) -> None:
    """Compare a message that a client has stored with LF, as systems do."""
    check_letter(octets.replace(b"\n", b"\r\n"), LETTER)


def log_in(client: POP3, daemon: Daemon) -> POP3:
    """Let Bob in."""
    client.user(BOB)
    client.pass_(daemon.passwords["bob"])
    return client


def uidls(client: POP3) -> dict[int, bytes]:
    """List the unique ids by message number."""
    pairs = [line.split(b" ") for line in client.uidl()[1]]
    return {int(number): uidl for number, uidl in pairs}


def number_of_messages(daemon: Daemon) -> int:
    """Count what is in Bob's maildrop."""
    client = daemon.pop3("bob")
    number = client.stat()[0]
    client.quit()
    return number


class TestMpop:
    """With GNU SASL's idea of each mechanism."""

    @pytest.mark.parametrize("line", LINES)
    @pytest.mark.parametrize("how", ["plain", "login", "scram-sha-256"])
    def test_it_empties_the_maildrop(
        self, daemon: Daemon, tmp_path: Path, how: str, line: str
    ) -> None:
        """Into a Maildir, whatever the mechanism and the line."""
        mpop = installed("mpop")
        methods = run([mpop, "--version"]).output.partition("authentication methods:\n")[2]
        require(how in methods.partition("\n")[0].split(), f"this mpop was built without {how}")
        send(daemon, LETTER)
        folder = tmp_path / "Maildir"
        mailbox.Maildir(folder).close()
        tls = ["--tls-certcheck=off", f"--tls-starttls={'on' if line == 'stls' else 'off'}"]
        options = [f"--host={HERE}", f"--port={port_of(daemon, line)}", f"--user={BOB}"]
        options += [f"--passwordeval=echo {daemon.passwords['bob']}", f"--auth={how}", "--keep=off"]
        options += ["--received-header=off", f"--delivery=maildir,{folder}"]
        options += [f"--uidls-file={tmp_path}/uidls", "--debug"]

        ended = run([mpop, *options, *(["--tls=off"] if line == "plain" else ["--tls=on", *tls])])

        assert (ended.status, ended.errors) == (0, ""), ended.output
        assert f"AUTH {how.upper()}" in ended.output
        assert ("--> STLS" in ended.output) is (line == "stls")
        [path] = (folder / "new").iterdir()
        check_collected(path.read_bytes())
        assert number_of_messages(daemon) == 0


class TestCurl:
    """With what it is told to use."""

    @pytest.mark.parametrize("line", LINES)
    @pytest.mark.parametrize("initial", [True, False])
    @pytest.mark.parametrize("how", ["PLAIN", "LOGIN"])
    def test_it_collects(
        self, daemon: Daemon, tmp_path: Path, how: str, line: str, *, initial: bool
    ) -> None:
        """With and without an initial response in the AUTH command; RFC 5034 section 4."""
        curl = installed("curl")
        send(daemon, LETTER)
        collected = tmp_path / "collected.eml"
        scheme = "pop3s" if line == "tls" else "pop3"
        options = ["--user", f"{BOB}:{daemon.passwords['bob']}", "--login-options", f"AUTH={how}"]
        options += ["--sasl-ir"] if initial else []
        options += [] if line == "plain" else ["--ssl-reqd", "-k"]
        url = f"{scheme}://{HERE}:{port_of(daemon, line)}/1"

        ended = run([curl, "-sSv", *options, url, "--output", str(collected)])

        assert ended.status == 0, ended.errors
        [said] = [one for one in ended.errors.splitlines() if one.startswith("> AUTH ")]
        assert said.split()[2] == how
        assert (len(said.split()) == 4) is initial
        assert ("> STLS" in ended.errors) is (line == "stls")
        check_letter(collected.read_bytes(), LETTER)


class TestFetchmail:
    """The oldest collector that is still around."""

    @pytest.mark.parametrize("line", LINES)
    def test_it_hands_each_message_over(self, daemon: Daemon, tmp_path: Path, line: str) -> None:
        """To a program, and removes it; it checks the certificate."""
        fetchmail = installed("fetchmail")
        send(daemon, LETTER, LETTER)
        trust = f'sslcertfile "{certificate_of(daemon)}" sslcertck sslcommonname "mail.test.com"'
        tls = f"{'ssl ' if line == 'tls' else ''}sslproto TLS1.2+ {trust}"
        if line == "plain":
            tls = 'sslproto ""'
        config = tmp_path / "fetchmailrc"
        config.write_text(
            f"set invisible\npoll {HERE} protocol pop3 port {port_of(daemon, line)}\n"
            f'user "{BOB}" password "{daemon.passwords["bob"]}" nokeep fetchall norewrite {tls}\n'
            f'mda "cat > {tmp_path}/collected.$$"\n'
        )
        config.chmod(0o600)
        options = ["-f", str(config), "--pidfile", str(tmp_path / "pid"), "-v", "-v"]

        ended = run([fetchmail, *options], environment={"HOME": str(tmp_path)})

        assert ended.status == 0, ended.output + ended.errors
        assert ("POP3> STLS" in ended.output) is (line == "stls")
        collected = [path.read_bytes() for path in tmp_path.glob("collected.*")]
        assert len(collected) == 2
        for octets in collected:
            check_collected(octets)
        assert number_of_messages(daemon) == 0

    def test_it_leaves_mail_on_the_server(self, daemon: Daemon, tmp_path: Path) -> None:
        """It knows by UIDL what it has; not fooled by a removal, a restart or new mail."""
        fetchmail = installed("fetchmail")
        config = tmp_path / "fetchmailrc"
        config.write_text(
            f"set invisible\npoll {HERE} protocol pop3 port {daemon.ports['pop3']} uidl\n"
            f'user "{BOB}" password "{daemon.passwords["bob"]}" keep sslproto ""\n'
            f'mda "grep ^Subject: >> {tmp_path}/subjects"\n'
        )
        config.chmod(0o600)
        files = ["--pidfile", str(tmp_path / "pid"), "--idfile", str(tmp_path / "ids")]

        def collected() -> str:
            subjects = tmp_path / "subjects"
            subjects.write_text("")
            ended = run([fetchmail, "-f", str(config), *files], environment={"HOME": str(tmp_path)})
            assert ended.status in (0, 1), ended.output + ended.errors  # 1: there is nothing new
            return subjects.read_text().replace("Subject: ", "")

        send(daemon, *(about(subject) for subject in "abc"))
        assert collected() == "a\nb\nc\n"
        reader = daemon.pop3("bob")
        reader.dele(2)
        reader.quit()
        daemon.stop()
        daemon.start()
        assert collected() == ""
        send(daemon, about("d"))
        assert collected() == "d\n"
        assert number_of_messages(daemon) == 3


class TestNode:
    """A client written in JavaScript."""

    @pytest.mark.parametrize("line", ["plain", "tls"])
    def test_it_empties_the_maildrop(self, daemon: Daemon, line: str) -> None:
        """Octet for octet; it knows no STLS."""
        node = installed("node")
        there = (NODE / "node_modules/node-pop3").exists()
        require(there, "run: npm ci --prefix tests/support/node")
        send(daemon, LETTER, LETTER)
        options = {"host": "localhost", "port": port_of(daemon, line), "user": BOB}
        options["password"] = daemon.passwords["bob"]
        if line == "tls":
            options |= {"tls": True, "ca": str(certificate_of(daemon))}

        ended = run([node, str(NODE / "collect.mjs")], given=json.dumps(options))

        assert (ended.status, ended.errors) == (0, "")
        found = ended.parsed
        messages = [b64decode(one) + b"\r\n" for one in found["messages"]]
        messages = [re.sub(rb"(?m)^\.", b"", one) for one in messages]
        assert found["sizes"] == [[str(n), str(len(one))] for n, one in enumerate(messages, 1)]
        assert found["stat"] == f"2 {sum(map(len, messages))}"
        assert len({name for _, name in found["names"]}) == 2
        for octets in messages:
            check_letter(octets, LETTER)
        assert number_of_messages(daemon) == 0


class TestMutt:
    """A mail program in a terminal."""

    @pytest.mark.parametrize("line", LINES)
    def test_its_user_copies_a_message(self, daemon: Daemon, tmp_path: Path, line: str) -> None:
        """Out of the maildrop into a folder, with keys that were typed."""
        mutt = installed("mutt")
        send(daemon, LETTER)
        settings = tmp_path / "muttrc"
        settings.write_text(
            f"set ssl_starttls = {'yes' if line == 'stls' else 'no'}\n"
            f"set ssl_force_tls = {'no' if line == 'plain' else 'yes'}\n"
            f'set certificate_file = "{certificate_of(daemon)}"\nset ssl_verify_host = no\n'
            "set pop_authenticators = plain\nset mbox_type = Maildir\nset copy = no\n"
            f"set folder = {tmp_path}\nset confirmappend = no\n"
            "set confirmcreate = no\nset pop_delete = no\n"
            f'push "<copy-message><kill-line>{tmp_path}/folder<enter><exit>"\n'
        )
        login = f"bob%40test.com:{daemon.passwords['bob']}"
        scheme = "pops" if line == "tls" else "pop"
        url = f"{scheme}://{login}@{HERE}:{port_of(daemon, line)}/"

        shown = in_a_terminal([mutt, "-n", "-F", str(settings), "-f", url], tmp_path)

        found = [path.read_bytes() for path in (tmp_path / "folder").glob("*/*")]
        assert len(found) == 1, shown
        check_collected(re.sub(rb"(?m)^(Content-Length|Lines): \d+\n", b"", found[0]))  # its own


def in_a_terminal(command: list[str], home: Path, seconds: float = 10) -> str:
    """Run a program that wants a terminal, until its end; gives what it has shown."""
    ours, its = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "LC_ALL": "C.UTF-8", "HOME": str(home)}
    shown, end = b"", time.monotonic() + seconds
    with subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True
    ) as process:
        os.close(its)
        while process.poll() is None and time.monotonic() < end:
            if select([ours], [], [], 0.1)[0]:
                shown += read_terminal(ours)
        process.kill()
    os.close(ours)
    return shown.decode("utf-8", "replace")


def read_terminal(ours: int) -> bytes:
    """Read what a program shows; nothing when it has closed its end."""
    try:
        return os.read(ours, 65_536)
    except OSError:
        return b""


class TestPoplib:
    """Python's own client, with what other tests leave out."""

    def test_it_finds_all_that_is_offered(self, daemon: Daemon) -> None:
        """CAPA, before and behind STLS."""
        with closing(POP3(HERE, daemon.ports["pop3"], timeout=30)) as client:
            before = client.capa()
            client.stls(trusting(daemon))
            behind = client.capa()

        assert {"TOP", "UIDL", "USER", "PIPELINING", "UTF8", "LANG", "STLS"} <= set(before)
        assert before["SASL"] == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
        assert "STLS" not in behind
        assert behind["SASL"] == ["SCRAM-SHA-256-PLUS", *before["SASL"]]

    @pytest.mark.parametrize("line", LINES)
    def test_it_speaks_utf8(self, daemon: Daemon, line: str) -> None:
        """UTF8 before the login; then a message comes whole, and TOP gives its beginning."""
        send(daemon, LETTER)
        client = connect(daemon, line)
        client.utf8()
        log_in(client, daemon)

        check_letter(b"\r\n".join(client.retr(1)[1]) + b"\r\n", LETTER)
        whole = client.retr(1)[1]
        assert client.top(1, 0)[1] == whole[: whole.index(b"") + 1]
        assert client.top(1, 2)[1] == whole[: whole.index(b"") + 3]
        client.quit()

    def test_unique_ids_stay(self, daemon: Daemon) -> None:
        """When other messages go, and behind kill -9 in an open session over TLS."""
        send(daemon, LETTER, LETTER, LETTER)
        client = log_in(connect(daemon, "tls"), daemon)
        first = uidls(client)
        client.dele(2)
        client.quit()
        left = {1: first[1], 2: first[3]}

        with closing(log_in(connect(daemon, "tls"), daemon)) as client:
            assert uidls(client) == left
            client.dele(1)
            daemon.kill()
        daemon.start()

        client = log_in(connect(daemon, "stls"), daemon)
        assert uidls(client) == left
        client.quit()

    def test_one_at_a_time(self, daemon: Daemon) -> None:
        """Over TLS: another device waits; a line that drops removes nothing and frees all."""
        send(daemon, LETTER)
        first = log_in(connect(daemon, "tls"), daemon)
        second = connect(daemon, "stls")
        with pytest.raises(error_proto, match=r"\[IN-USE\]"):
            log_in(second, daemon)
        first.quit()
        log_in(second, daemon).dele(1)  # on the line that was refused before

        second.close()  # no QUIT

        wait_until(lambda: may_enter(daemon), "the way into the maildrop", 5)
        assert number_of_messages(daemon) == 1

    def test_who_reads_nothing_is_cut_off(self, daemon: Daemon) -> None:
        """After ``pop3.stalled_timeout`` in a large message; the maildrop is free again."""
        send(daemon, LETTER + b"".join(b"%098d\r\n" % number for number in range(200_000)))
        client = daemon.pop3("bob")
        began = time.monotonic()
        client._putcmd("RETR 1")  # type: ignore[attr-defined]  # noqa: SLF001 - and read nothing
        assert not may_enter(daemon)

        wait_until(lambda: may_enter(daemon), "the way into the maildrop", 10)

        note(f"cut off after {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began > 0.9
        with pytest.raises((error_proto, OSError)):
            client._getlongresp()  # type: ignore[attr-defined]  # noqa: SLF001
        client.close()

    @pytest.mark.parametrize("line", LINES)
    def test_who_reads_slowly_gets_all_of_it(self, daemon: Daemon, line: str) -> None:
        """
        Over more than four times ``pop3.stalled_timeout``, and QUIT is said long before.

        Nothing moves in the daemon meanwhile: the kernel has taken megabytes.
        """
        text = LETTER + b"".join(b"%098d\r\n" % number for number in range(80_000))
        send(daemon, text)
        client = log_in(connect(daemon, line), daemon)
        client.sock.sendall(b"RETR 1\r\nQUIT\r\n")
        heard, until = b"", time.monotonic() + 4.5

        while time.monotonic() < until:
            heard += client.sock.recv(16_384)
            time.sleep(0.05)  # a slow reader: 320 KB a second
        note(f"{len(heard)} octets of {len(text)} in 4.5 s")
        assert len(heard) < len(text) / 2
        while octets := client.sock.recv(65_536):
            heard += octets

        client.close()
        assert heard.startswith(b"+OK")
        assert heard.endswith(b"%098d\r\n.\r\n+OK good-bye\r\n" % 79_999)


class TlsByHand:
    """A client whose TLS and socket are two things: it can say good-bye and still read octets."""

    def __init__(self, daemon: Daemon) -> None:
        self._ours, self._theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = trusting(daemon).wrap_bio(self._theirs, self._ours, server_hostname="localhost")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.socket.connect((HERE, daemon.ports["pop3s"]))
        self.socket.settimeout(0.5)
        self._until_done(self._tls.do_handshake)
        self.hear()

    def _until_done(self, step: Callable[[], object]) -> None:
        with suppress(ssl.SSLWantReadError):
            step()
            self.socket.sendall(self._ours.read())
            return
        self.socket.sendall(self._ours.read())
        self._theirs.write(self.socket.recv(16_384))
        self._until_done(step)

    def say(self, command: str) -> None:
        """Say a command."""
        self._tls.write(f"{command}\r\n".encode())
        self.socket.sendall(self._ours.read())

    def hear(self) -> None:
        """Hear a short reply."""
        self._until_done(lambda: self._tls.read(512))

    def say_bye_to_tls(self) -> None:
        """Say that nothing more comes, and do not wait for the answer."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self.socket.sendall(self._ours.read())


def test_a_client_that_ends_tls_in_the_midst_lets_its_maildrop_go(daemon: Daemon) -> None:
    """It has read nothing for a while, says good-bye to TLS, reads what there is and is gone."""
    send(daemon, LETTER + b"".join(b"%098d\r\n" % number for number in range(80_000)))
    client = TlsByHand(daemon)
    with client.socket:
        client.say("USER bob@test.com")
        client.hear()
        client.say(f"PASS {daemon.passwords['bob']}")
        client.hear()
        client.say("RETR 1")
        time.sleep(0.5)  # the daemon fills every buffer on the way, and waits
        client.say_bye_to_tls()
        with suppress(TimeoutError):
            while client.socket.recv(65_536):
                pass
    wait_until(lambda: may_enter(daemon), "the way into the maildrop", 5)


def connect(daemon: Daemon, line: str) -> POP3:
    """Connect, with TLS behind STLS or from the first octet if so wished."""
    if line == "tls":
        port = daemon.ports["pop3s"]
        return POP3_SSL("localhost", port, context=trusting(daemon), timeout=30)
    client = POP3("localhost", daemon.ports["pop3"], timeout=30)
    if line == "stls":
        client.stls(trusting(daemon))
    return client


def may_enter(daemon: Daemon) -> bool:
    """Try to open Bob's maildrop, and leave it again."""
    try:
        daemon.pop3("bob").quit()
    except error_proto as error:
        if b"[IN-USE]" not in error.args[0]:
            raise
        return False
    return True

"""TLS in SMTP: STARTTLS, TLS from the first octet, and who the client is; RFC 3207, RFC 8314."""

from base64 import b64encode
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener
from twisted.logger import LogEvent
from zope.interface.verify import verifyObject

from mailsvc.config.settings import (
    CertificateSettings,
    Kind,
    LimitSettings,
    LoginSettings,
    SmtpSettings,
    Tls,
    TlsVersion,
    WithoutTls,
)
from mailsvc.wire.certificates import Certificates
from mailsvc.wire.entrance import Entrance
from tests.support.certificates import make_certificate
from tests.support.pop3_talk import faults, logs
from tests.support.smtp_talk import PASSWORD, FakeTransport, Talk
from tests.support.tls_line import FROM, TlsLine

PLAIN = b"AUTH PLAIN " + b64encode(b"\0alice@test.com\0" + PASSWORD)
PROXY = ip_network("192.0.2.0/24")
V1 = b"PROXY TCP4 198.51.100.9 192.0.2.7 4321 25\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x09\xc0\x00\x02\x07\x10\xe1\x00\x19"


@pytest.fixture
def files(tmp_path: Path) -> CertificateSettings:
    """Make a certificate."""
    return make_certificate(tmp_path, "mail.test.com")


@pytest.fixture
def certificates(files: CertificateSettings) -> Certificates:
    """Load it."""
    made = Certificates(TlsVersion.TLS12)
    made.load([files])
    return made


class House:
    """A listener that clients connect to."""

    def __init__(
        self,
        certificates: Certificates,
        tls: Tls = Tls.STARTTLS,
        kind: Kind = Kind.SMTP,
        *,
        behind_proxy: bool = False,
        without_tls: WithoutTls = WithoutTls.NEVER,
    ) -> None:
        self.talk = Talk(
            kind,
            settings=SmtpSettings(greeting_delay=0, tarpit=0),
            login=LoginSettings(without_tls=without_tls),
            limits=LimitSettings(),
        )
        self.clock = self.talk.clock
        self.taken = self.talk.intake.taken
        self.talk.factory.entrance = Entrance(
            tls=tls,
            certificates=certificates,
            proxies=(PROXY,) if behind_proxy else (),
            handshake_timeout=30,
        )

    def connect(self, ip: str = FROM) -> TlsLine:
        """Connect a client."""
        return TlsLine(self.talk.factory, ip)

    def greeted(self, kind: bytes = b"EHLO") -> TlsLine:
        """Connect a client and get past its hello."""
        line = self.connect().hears(b"220 ").says(kind + b" evil.example")
        line.heard()
        return line

    def secured(self) -> TlsLine:
        """Connect a client, get past STARTTLS and the hello behind it."""
        line = self.greeted().says(b"STARTTLS").hears(b"220 ").begins_tls()
        line.says(b"EHLO client.example").heard()
        return line


@pytest.fixture
def house(certificates: Certificates) -> House:
    """Open a listener with STARTTLS."""
    return House(certificates)


def extensions(line: TlsLine) -> list[bytes]:
    """Ask for the extensions."""
    return [answer[4:] for answer in line.says(b"EHLO client.example").heard().splitlines()[1:]]


def send_a_letter(line: TlsLine) -> None:
    """Send a message to Bob."""
    line.says(b"MAIL FROM:<x@a.example>", b"RCPT TO:<bob@test.com>", b"DATA")
    line.hears(b"250 ", b"250 ", b"354 ")
    line.says(b"Subject: Hello", b"", b"Secret.", b".").hears(b"250 ")


class TestStarttls:
    """RFC 3207."""

    def test_a_letter_comes_over_tls(self, house: House) -> None:
        """And what it came over is known to those that read it."""
        send_a_letter(house.secured())

        envelope, _ = house.taken[0]
        assert envelope.protocol == "ESMTPS"
        assert envelope.helo == "client.example"

    def test_it_is_announced_until_it_is_done(self, house: House) -> None:
        """RFC 3207 section 4.2: not inside TLS."""
        line = house.connect().hears(b"220 ")

        assert b"STARTTLS" in extensions(line)
        line.says(b"STARTTLS").hears(b"220 2.0.0").begins_tls()
        assert b"STARTTLS" not in extensions(line)
        line.says(b"STARTTLS").hears(b"503 5.5.1 The connection has TLS already")

    def test_mail_that_must_stay_encrypted(self, house: House) -> None:
        """REQUIRETLS is offered inside TLS only, and kept with the message; RFC 8689."""
        assert b"REQUIRETLS" not in extensions(house.connect().hears(b"220 "))
        line = house.secured()
        assert b"REQUIRETLS" in extensions(line)

        line.says(b"MAIL FROM:<x@a.example> REQUIRETLS=1").hears(b"501 5.5.4")
        line.says(b"MAIL FROM:<x@a.example> REQUIRETLS", b"RCPT TO:<bob@test.com>")
        line.hears(b"250 ", b"250 ").says(b"DATA", b"x", b".").hears(b"354 ", b"250 ")

        envelope, _ = house.taken[0]
        assert envelope.require_tls
        assert envelope.cipher.startswith("TLS_")

    def test_a_listener_without_it_says_so(self, certificates: Certificates) -> None:
        """``tls: none``."""
        house = House(certificates, Tls.NONE)
        line = house.connect().hears(b"220 ")

        assert b"STARTTLS" not in extensions(line)
        line.says(b"STARTTLS").hears(b"502 5.5.1").says(b"NOOP").hears(b"250 ")

    @pytest.mark.parametrize(
        ("before", "command", "reply"),
        [
            (b"NOOP", b"STARTTLS", b"503 5.5.1 Say EHLO or HELO first"),
            (b"HELO evil.example", b"STARTTLS", b"503 5.5.1 Say EHLO first"),
            (b"EHLO evil.example", b"STARTTLS now", b"501 5.5.4"),
        ],
    )
    def test_it_has_its_place_and_its_form(
        self, house: House, before: bytes, command: bytes, reply: bytes
    ) -> None:
        """It follows EHLO and has no argument."""
        line = house.connect().says(before)
        line.heard()

        line.says(command).hears(reply).says(b"NOOP").hears(b"250 ")

    def test_it_is_the_last_of_a_group(self, house: House) -> None:
        """What stands in front of it in the same segment is answered; RFC 2920 section 3.1."""
        line = house.connect().hears(b"220 ").says(b"EHLO a.example", b"NOOP", b"STARTTLS")

        assert line.heard().splitlines()[-2:] == [b"250 2.0.0 OK", b"220 2.0.0 Begin TLS now"]
        line.begins_tls().says(b"NOOP").hears(b"250 ")


class TestInjection:
    """Commands that somebody on the way slips in before TLS: CVE-2011-0411."""

    @pytest.mark.parametrize(
        "behind",
        [
            b"\n",
            b"N",
            b"NOOP\r\n",
            b"RSET\r\nMAIL FROM:<evil@a.example>\r\nRCPT TO:<bob@test.com>\r\nDATA\r\n",
            b"\x16\x03\x01",
        ],
    )
    def test_nothing_behind_starttls_runs(self, house: House, behind: bytes) -> None:
        """Not before TLS and not in it: the connection ends."""
        line = house.greeted().sends(b"STARTTLS\r\n" + behind)

        line.hears(b"503 5.5.1 Nothing may follow STARTTLS before TLS").is_hung_up_on()
        assert house.taken == []

    def test_commands_behind_the_220_do_not_run(self, house: House) -> None:
        """They are no TLS: the handshake fails."""
        line = house.greeted().says(b"STARTTLS").hears(b"220 ")
        with logs() as heard:
            line.sends_plainly(b"MAIL FROM:<evil@a.example>\r\n").is_hung_up_on()

        assert b"250" not in line.wire.written.partition(b"Begin TLS now")[2]
        assert house.taken == []
        assert faults(heard) == []

    @pytest.mark.parametrize("kind", [b"EHLO", b"HELO"])
    def test_the_client_must_say_hello_again(self, house: House, kind: bytes) -> None:
        """Who it said to be before TLS may have been said by another."""
        line = house.connect().says(kind + b" evil.example", b"EHLO evil.example", b"STARTTLS")
        line.heard()

        line.begins_tls().says(b"MAIL FROM:<x@a.example>").hears(b"503 5.5.1 Say EHLO")

    def test_a_transaction_is_forgotten(self, house: House) -> None:
        """Sender and recipients."""
        line = house.greeted()
        line.says(b"MAIL FROM:<evil@a.example>", b"RCPT TO:<bob@test.com>", b"STARTTLS")
        line.hears(b"250 ", b"250 ", b"220 ").begins_tls()
        line.says(b"EHLO client.example").heard()

        line.says(b"DATA", b"RCPT TO:<bob@test.com>").hears(b"503 5.5.1", b"503 5.5.1")

    def test_a_login_is_forgotten(self, certificates: Certificates) -> None:
        """The client of TLS may be another one; the login is given back."""
        house = House(certificates, kind=Kind.SUBMISSION, without_tls=WithoutTls.ALWAYS)
        line = house.greeted().says(PLAIN, b"STARTTLS").hears(b"235 ", b"220 ").begins_tls()
        line.says(b"EHLO client.example").heard()

        line.says(b"MAIL FROM:<alice@test.com>").hears(b"530 5.7.0")
        assert len(house.talk.left) == 1
        line.says(PLAIN).hears(b"235 ")

    def test_errors_are_not_forgotten(self, certificates: Certificates) -> None:
        """TLS gives no new tries."""
        house = House(certificates)
        line = house.greeted()
        for _ in range(15):
            line.says(b"XYZZY").hears(b"500 ")
        line.says(b"STARTTLS").hears(b"220 ").begins_tls()
        for _ in range(4):
            line.says(b"XYZZY").hears(b"500 ")

        line.says(b"XYZZY").hears(b"421 4.7.0")


class TestLogins:
    """What TLS is for."""

    def test_a_login_needs_tls(self, certificates: Certificates) -> None:
        """``login.without_tls: never``; RFC 8314 section 3."""
        house = House(certificates, kind=Kind.SUBMISSION)
        line = house.connect().hears(b"220 ")

        assert not any(one.startswith(b"AUTH") for one in extensions(line))
        line.says(PLAIN).hears(b"538 5.7.11").says(b"STARTTLS").hears(b"220 ").begins_tls()
        assert any(one.startswith(b"AUTH") and b"PLAIN" in one for one in extensions(line))
        line.says(PLAIN).hears(b"235 ")

    def test_the_channel_is_known(self, house: House, files: CertificateSettings) -> None:
        """Both ends have the same bindings: a login can be bound to the connection."""
        line = house.secured()

        channel = line.protocol._session.channel  # type: ignore[attr-defined]  # noqa: SLF001 - a login reads it

        shown = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        assert (channel.secure, channel.version) == (True, "TLSv1.3")
        assert channel.cipher == line.client.get_cipher_name()
        assert channel.bindings == {
            "tls-server-end-point": shown.fingerprint(hashes.SHA256()),
            "tls-exporter": line.client.export_keying_material(
                b"EXPORTER-Channel-Binding", 32, b""
            ),
        }

    def test_tls_1_2_has_no_exporter(self, house: House) -> None:
        """RFC 9266 section 4.2; and its ciphers are named as IANA does."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        line = house.greeted().says(b"STARTTLS").hears(b"220 ").begins_tls(context=context)

        channel = line.protocol._session.channel  # type: ignore[attr-defined]  # noqa: SLF001 - a login reads it

        assert channel.cipher.startswith("TLS_ECDHE_ECDSA_WITH_")
        assert channel.bindings.keys() == {"tls-server-end-point"}


class TestImplicitTls:
    """TLS from the first octet; RFC 8314 section 3.3."""

    def test_the_greeting_comes_over_tls(self, certificates: Certificates) -> None:
        """Nothing is said in the clear, and a login is welcome."""
        line = House(certificates, Tls.IMPLICIT, Kind.SUBMISSION).connect()

        assert line.wire.written == b""
        line.begins_tls().hears(b"220 mail.test.com")
        assert b"STARTTLS" not in extensions(line)
        line.says(PLAIN).hears(b"235 ").says(b"STARTTLS").hears(b"503 5.5.1")

    def test_a_client_without_tls_is_hung_up_on(self, certificates: Certificates) -> None:
        """One line in the log tells why; it is no fault of ours."""
        line = House(certificates, Tls.IMPLICIT).connect()
        with logs() as heard:
            line.sends_plainly(b"EHLO client.example\r\n").is_hung_up_on()

        assert b"220" not in line.wire.written
        assert faults(heard) == []
        assert texts(heard)[0].startswith(f"no TLS with {FROM}: ")

    def test_a_client_that_never_agrees_is_cut_off(self, certificates: Certificates) -> None:
        """After ``tls.handshake_timeout``, without a word."""
        house = House(certificates, Tls.IMPLICIT)
        line = house.connect().sends_plainly(b"\x16\x03\x01\x02\x00\x01")

        house.clock.advance(29)
        line.is_still_connected()
        house.clock.advance(2)

        assert line.wire.aborted
        assert line.wire.written == b""

    def test_a_slow_starttls_is_cut_off(self, house: House) -> None:
        """The same behind STARTTLS."""
        line = house.greeted().says(b"STARTTLS").hears(b"220 ")

        house.clock.advance(31)

        assert line.wire.aborted

    def test_a_fault_of_ours_leaves_no_connection_open(self, certificates: Certificates) -> None:
        """It would have no time-out, and keep its place for ever."""
        house, wire = House(certificates, Tls.IMPLICIT), FakeTransport(FROM)

        with logs() as heard:  # For example: this transport knows no TLS.
            house.talk.factory.buildProtocol(None).makeConnection(wire)

        assert wire.closed
        assert len(faults(heard)) == 1

    def test_a_stop_does_not_wait_for_a_handshake(self, certificates: Certificates) -> None:
        """The client is cut off: there is no way to tell it."""
        house = House(certificates, Tls.IMPLICIT)
        line = house.connect()

        house.talk.factory.interrupt()

        assert line.wire.aborted
        assert len(house.talk.factory.background) == 0


class TestProxies:
    """A proxy in front of us names its clients."""

    @pytest.mark.parametrize("header", [V1, V2])
    @pytest.mark.parametrize("cut", [1, 5, 13, 17, 100])
    def test_the_client_is_who_the_proxy_says(
        self, certificates: Certificates, header: bytes, cut: int
    ) -> None:
        """Nothing is said before the header is there, however it comes."""
        house = House(certificates, behind_proxy=True)
        line = house.connect().sends(header[:cut])
        if cut < len(header):
            assert line.heard() == b""
            line.sends(header[cut:])

        line.hears(b"220 ").says(b"EHLO client.example").heard()
        send_a_letter(line)
        assert house.taken[0][0].client == ("198.51.100.9", 4321)

    @pytest.mark.parametrize("header", [V1, V2])
    def test_the_header_comes_before_tls(self, certificates: Certificates, header: bytes) -> None:
        """In one segment with the start of TLS, as HAProxy's ``send-proxy`` does on port 465."""
        house = House(certificates, Tls.IMPLICIT, behind_proxy=True)
        line = house.connect().begins_tls(before=header).hears(b"220 ")

        line.says(b"EHLO client.example").heard()
        send_a_letter(line)
        assert house.taken[0][0].client.ip == "198.51.100.9"

    def test_commands_behind_the_header_are_kept(self, certificates: Certificates) -> None:
        """They wait for the greeting."""
        house = House(certificates, behind_proxy=True)

        line = house.connect().sends(V1 + b"EHLO client.example\r\n")

        assert line.heard().startswith(b"220 mail.test.com")
        line.says(b"STARTTLS").hears(b"220 ").begins_tls().says(b"NOOP").hears(b"250 ")

    @pytest.mark.parametrize("octets", [b"EHLO client.example\r\n", b"PROXY TCP4 x\r\n"])
    def test_a_connection_without_a_header_is_closed(
        self, certificates: Certificates, octets: bytes
    ) -> None:
        """Without a word, with one line in the log."""
        line = House(certificates, behind_proxy=True).connect()
        with logs() as heard:
            line.sends(octets).is_hung_up_on()

        assert line.wire.written == b""
        assert texts(heard)[0].startswith(f"no PROXY header from {FROM}: ")

    def test_a_slow_header_is_cut_off(self, certificates: Certificates) -> None:
        """However steadily its octets drip."""
        house = House(certificates, behind_proxy=True)
        line = house.connect()
        for octet in V1[:31]:
            line.sends(bytes((octet,)))
            house.clock.advance(1)

        assert line.wire.aborted

    def test_nobody_else_can_lend_an_address(self, certificates: Certificates) -> None:
        """From other networks a header is no header but a wrong command."""
        house = House(certificates, behind_proxy=True)
        line = house.connect("203.0.113.5").hears(b"220 ")

        line.sends(V1).hears(b"500 5.5.2")

    @pytest.mark.parametrize(
        "header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"]
    )
    def test_the_proxy_may_speak_for_itself(
        self, certificates: Certificates, header: bytes
    ) -> None:
        """Its health checks are its own connections."""
        house = House(certificates, behind_proxy=True)
        line = house.connect().sends(header).hears(b"220 ")

        line.says(b"EHLO proxy.example").heard()
        send_a_letter(line)
        assert house.taken[0][0].client.ip == FROM


def texts(heard: list[LogEvent]) -> list[str]:
    """Give the lines that the log has of it."""
    found = [str(event["log_format"]).format(**event) for event in heard if event["log_format"]]
    return [text for text in found if text.startswith("no ")]


def test_the_protocol_hears_of_handshakes(house: House) -> None:
    """TWISTED: only an IHandshakeListener is told."""
    verifyObject(IHandshakeListener, house.connect().protocol)

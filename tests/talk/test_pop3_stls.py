"""TLS in POP3: STLS, TLS from the first octet, and who the client is; RFC 2595 section 4."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from twisted.internet.interfaces import IHandshakeListener
from zope.interface.verify import verifyObject

from mailsvc.config.settings import LoginSettings, Settings, Tls, TlsVersion, WithoutTls
from mailsvc.wire.certificates import Certificates
from mailsvc.wire.entrance import Entrance
from tests.support.certificates import make_certificate
from tests.support.pop3_talk import PASSWORD, PostOffice, faults, logs
from tests.support.smtp_talk import FakeTransport
from tests.support.tls_line import FROM, TlsLine

LOGIN = (b"USER alice", b"PASS " + PASSWORD)
V1 = b"PROXY TCP4 198.51.100.9 192.0.2.7 4321 110\r\n"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Make and load a certificate."""
    made = Certificates(TlsVersion.TLS12)
    made.load([make_certificate(tmp_path, "mail.test.com")])
    return made


class House:
    """A listener with a maildrop behind it."""

    def __init__(
        self,
        certificates: Certificates,
        tls: Tls = Tls.STARTTLS,
        *,
        behind_proxy: bool = False,
        without_tls: WithoutTls = WithoutTls.NEVER,
    ) -> None:
        self.office = PostOffice(Settings(login=LoginSettings(without_tls=without_tls)))
        self.office.add(b"alice", b"Subject: Hello\r\n\r\nSecret.\r\n")
        self.office.factory.entrance = Entrance(
            tls=tls,
            certificates=certificates,
            proxies=(ip_network("192.0.2.0/24"),) if behind_proxy else (),
        )

    def connect(self) -> TlsLine:
        """Connect a client."""
        return TlsLine(self.office.factory)

    def greeted(self) -> TlsLine:
        """Connect a client and hear its greeting."""
        return self.connect().hears(b"+OK mailsvc ready")


@pytest.fixture
def house(certificates: Certificates) -> House:
    """Open a listener with STLS."""
    return House(certificates)


def capabilities(line: TlsLine) -> list[bytes]:
    """Ask what can be done."""
    return line.says(b"CAPA").heard().splitlines()[1:-1]


class TestStls:
    """RFC 2595 section 4."""

    def test_mail_is_collected_over_tls(self, house: House) -> None:
        """After STLS everything is as it was without."""
        line = house.greeted().says(b"STLS").hears(b"+OK begin TLS now").begins_tls()

        line.says(*LOGIN).hears(b"+OK now", b"+OK welcome")
        assert b"Secret." in line.says(b"RETR 1").heard()
        line.says(b"QUIT").hears(b"+OK")

    def test_a_login_needs_tls(self, house: House) -> None:
        """``login.without_tls: never``; RFC 8314 section 3."""
        line = house.greeted()

        assert b"USER" not in capabilities(line)
        line.says(b"USER alice").hears(b"-ERR no login").says(b"STLS").hears(b"+OK").begins_tls()
        assert b"USER" in capabilities(line)

    def test_it_is_announced_until_it_is_done(self, house: House) -> None:
        """And not inside TLS."""
        line = house.greeted()

        assert b"STLS" in capabilities(line)
        line.says(b"STLS").hears(b"+OK").begins_tls()
        assert b"STLS" not in capabilities(line)
        line.says(b"STLS").hears(b"-ERR the connection has TLS already")

    def test_it_is_not_for_those_who_have_logged_in(self, certificates: Certificates) -> None:
        """RFC 2595 section 4: the AUTHORIZATION state only."""
        house = House(certificates, without_tls=WithoutTls.ALWAYS)
        line = house.greeted().says(*LOGIN).hears(b"+OK", b"+OK")

        assert b"STLS" not in capabilities(line)
        line.says(b"STLS").hears(b"-ERR you are logged in").says(b"NOOP").hears(b"+OK")

    def test_a_listener_without_it_says_so(self, certificates: Certificates) -> None:
        """``tls: none``."""
        line = House(certificates, Tls.NONE).greeted()

        assert b"STLS" not in capabilities(line)
        line.says(b"STLS").hears(b"-ERR TLS is not offered here")

    def test_it_takes_no_argument(self, house: House) -> None:
        """RFC 2595 section 4."""
        house.greeted().says(b"STLS now").hears(b"-ERR these arguments")

    @pytest.mark.parametrize("behind", [b"\n", b"U", b"USER alice\r\n", b"QUIT\r\n"])
    def test_nothing_behind_stls_runs(self, house: House, behind: bytes) -> None:
        """Not before TLS and not in it: the connection ends."""
        line = house.greeted().sends(b"STLS\r\n" + behind)

        line.hears(b"-ERR nothing may follow STLS before TLS").is_hung_up_on()

    def test_a_user_is_forgotten(self, certificates: Certificates) -> None:
        """Who said USER before TLS may have been another."""
        house = House(certificates, without_tls=WithoutTls.ALWAYS)
        line = house.greeted().says(b"USER alice", b"STLS").hears(b"+OK", b"+OK").begins_tls()

        line.says(b"PASS " + PASSWORD).hears(b"-ERR USER comes first")


class TestEntrance:
    """What comes before the greeting."""

    def test_the_greeting_comes_over_tls(self, certificates: Certificates) -> None:
        """Port 995: nothing is said in the clear."""
        line = House(certificates, Tls.IMPLICIT).connect()

        assert line.wire.written == b""
        line.begins_tls().hears(b"+OK mailsvc ready").says(*LOGIN).hears(b"+OK", b"+OK")

    def test_a_client_without_tls_is_hung_up_on(self, certificates: Certificates) -> None:
        """It is no fault of ours."""
        line = House(certificates, Tls.IMPLICIT).connect()
        with logs() as heard:
            line.sends_plainly(b"CAPA\r\n").is_hung_up_on()

        assert b"+OK" not in line.wire.written
        assert faults(heard) == []

    def test_a_fault_of_ours_leaves_no_connection_open(self, certificates: Certificates) -> None:
        """It would have no time-out, and keep its place for ever."""
        house, wire = House(certificates, Tls.IMPLICIT), FakeTransport(FROM)

        with logs() as heard:  # For example: this transport knows no TLS.
            house.office.factory.buildProtocol(None).makeConnection(wire)

        assert wire.closed
        assert len(faults(heard)) == 1

    def test_too_many_clients_hear_it_over_tls_or_not_at_all(
        self, certificates: Certificates
    ) -> None:
        """A client of TLS must not hear what anybody could have said."""
        house = House(certificates, Tls.IMPLICIT)
        house.office.places = 0

        line = house.connect()

        assert b"-ERR" not in line.wire.written

    @pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
    def test_the_client_is_who_the_proxy_says(self, certificates: Certificates, tls: Tls) -> None:
        """Here the log of a login."""
        house = House(certificates, tls, behind_proxy=True)
        line = house.connect()
        with logs() as heard:
            if tls is Tls.IMPLICIT:
                line.begins_tls(before=V1).hears(b"+OK")
            else:
                line.sends(V1).hears(b"+OK").says(b"STLS").hears(b"+OK").begins_tls()
            line.says(*LOGIN).hears(b"+OK", b"+OK")

        logins = [event for event in heard if event["log_format"].startswith("login of")]
        assert [event["client"] for event in logins] == ["198.51.100.9"]

    def test_a_connection_without_a_header_is_closed(self, certificates: Certificates) -> None:
        """Without a word."""
        line = House(certificates, behind_proxy=True).connect().sends(b"CAPA\r\n").is_hung_up_on()

        assert line.wire.written == b""


def test_the_protocol_hears_of_handshakes(house: House) -> None:
    """TWISTED: only an IHandshakeListener is told."""
    verifyObject(IHandshakeListener, house.connect().protocol)

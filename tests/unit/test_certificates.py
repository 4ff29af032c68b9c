"""The certificates that clients see: by name, renewed, refused."""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import LogEvent
from zope.interface.verify import verifyObject

from mailsvc.config.load import parse
from mailsvc.config.settings import CertificateSettings, TlsVersion
from mailsvc.errors import ConfigError, StartError
from mailsvc.service.self_signed import self_signed
from mailsvc.wire.certificates import Certificates
from tests.support.certificates import make_certificate, serial_of
from tests.support.pop3_talk import logs
from tests.support.tls_line import CertificateFactory, TlsLine

NOW = datetime.now(UTC)


def load(*files: CertificateSettings, oldest: TlsVersion = TlsVersion.TLS12) -> Certificates:
    """Load certificates."""
    certificates = Certificates(oldest)
    certificates.load(files)
    return certificates


def shown(certificates: Certificates, name: str | None = None) -> int:
    """Connect, asking for a name, and give the serial number of what is shown."""
    return TlsLine(CertificateFactory(certificates)).begins_tls(name).serial


def renew(folder: Path, *names: str) -> CertificateSettings:
    """Write a certificate over the one that is there, as certbot does."""
    return make_certificate(folder, *names)


@pytest.fixture
def heard() -> Iterator[list[LogEvent]]:
    """Collect what is logged."""
    with logs() as heard:
        yield heard


def said(heard: list[LogEvent], level: str) -> list[str]:
    """Give the texts of one level."""
    return [
        str(event["log_format"]).format(**event)
        for event in heard
        if event["log_level"].name == level
    ]


def test_it_is_what_twisted_asks_for(tmp_path: Path) -> None:
    """``transport.startTLS`` takes it."""
    verifyObject(
        IOpenSSLServerConnectionCreator, load(make_certificate(tmp_path, "mail.a.example"))
    )


class TestChoice:
    """One address, many names; RFC 6066 section 3."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[CertificateSettings]:
        """Make certificates of three domains."""
        return [
            make_certificate(tmp_path, "mail.a.example", "smtp.a.example"),
            make_certificate(tmp_path, "*.b.example", "b.example"),
            make_certificate(tmp_path, "mail.b.example"),
            make_certificate(tmp_path, common_name="old.c.example"),
        ]

    @pytest.mark.parametrize(
        ("name", "number"),
        [
            ("mail.a.example", 0),
            ("SMTP.A.example", 0),
            ("mail.b.example", 2),
            ("pop.b.example", 1),
            ("b.example", 1),
            ("deep.pop.b.example", 0),
            ("old.c.example", 3),
            ("unknown.example", 0),
            (None, 0),
        ],
    )
    def test_a_client_gets_the_certificate_it_asks_for(
        self, files: list[CertificateSettings], name: str | None, number: int
    ) -> None:
        """Its exact name, else a wildcard, else the first one of config.yaml."""
        assert shown(load(*files), name) == serial_of(files[number].certificate)

    def test_the_first_entry_of_a_name_wins(self, tmp_path: Path) -> None:
        """The order of config.yaml decides."""
        first = make_certificate(tmp_path, "mail.a.example", file="first")
        second = make_certificate(tmp_path, "mail.a.example", file="second")

        assert shown(load(first, second), "mail.a.example") == serial_of(first.certificate)

    def test_the_chain_is_shown(self, tmp_path: Path) -> None:
        """Clients do not know the authorities between."""
        files = make_certificate(tmp_path, "mail.a.example")
        between = make_certificate(tmp_path, "authority.example").certificate.read_bytes()
        files.certificate.write_bytes(files.certificate.read_bytes() + between)

        line = TlsLine(CertificateFactory(load(files))).begins_tls()

        assert len(line.client.get_peer_cert_chain() or ()) == 2


class TestVersions:
    """What is spoken."""

    def agrees(self, certificates: Certificates, version: int, ciphers: bytes = b"") -> str:
        """Connect with one version of TLS; give the cipher, or nothing."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_cipher_list(ciphers or b"DEFAULT:@SECLEVEL=0")
        try:
            line = TlsLine(CertificateFactory(certificates)).begins_tls(context=context)
        except SSL.Error:
            return ""
        return line.client.get_cipher_name() or ""

    def test_old_versions_are_not_spoken(self, tmp_path: Path) -> None:
        """RFC 8996: TLS 1.0 and 1.1 are history."""
        certificates = load(make_certificate(tmp_path, "mail.a.example"))

        assert not self.agrees(certificates, SSL.TLS1_VERSION)
        assert not self.agrees(certificates, SSL.TLS1_1_VERSION)
        assert self.agrees(certificates, SSL.TLS1_2_VERSION)
        assert self.agrees(certificates, SSL.TLS1_3_VERSION)

    def test_the_operator_may_ask_for_1_3(self, tmp_path: Path) -> None:
        """``tls.oldest_version``."""
        files = make_certificate(tmp_path, "mail.a.example")
        certificates = load(files, oldest=TlsVersion.TLS13)

        assert not self.agrees(certificates, SSL.TLS1_2_VERSION)
        assert self.agrees(certificates, SSL.TLS1_3_VERSION)

    def test_ciphers_without_forward_secrecy_are_not_spoken(self, tmp_path: Path) -> None:
        """Nor those whose authentication is an afterthought; RFC 9325 section 4.1."""
        certificates = load(make_certificate(tmp_path, "mail.a.example"))
        weak = b"ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA:AES128-GCM-SHA256"

        assert "GCM" in self.agrees(certificates, SSL.TLS1_2_VERSION)
        assert not self.agrees(certificates, SSL.TLS1_2_VERSION, weak)


class TestRenewal:
    """Files change while the service runs."""

    def test_a_renewed_certificate_is_shown(self, tmp_path: Path, heard: list[LogEvent]) -> None:
        """Without a restart; Twisted's own SNI store shows the old one for ever."""
        files = make_certificate(tmp_path, "mail.a.example")
        certificates = load(files)
        certificates.look()
        old = shown(certificates)

        renew(tmp_path, "mail.a.example")
        certificates.look()

        assert shown(certificates, "mail.a.example") == serial_of(files.certificate) != old
        assert said(heard, "info") == [f"read renewed certificates: {files.certificate}"]

    def test_a_new_name_of_a_renewed_certificate_is_known(self, tmp_path: Path) -> None:
        """Its names are read anew, too."""
        first = make_certificate(tmp_path, "first.example")
        second = make_certificate(tmp_path, "mail.a.example")
        certificates = load(first, second)

        make_certificate(tmp_path, "new.a.example", file="mail.a.example")
        certificates.look()

        assert shown(certificates, "new.a.example") == serial_of(second.certificate)

    @pytest.mark.parametrize("damage", ["half", "other key", "gone", "empty"])
    def test_a_bad_renewal_changes_nothing(
        self, tmp_path: Path, heard: list[LogEvent], damage: str
    ) -> None:
        """The old one stays, the log says so once, and what is mended later is taken."""
        files = make_certificate(tmp_path, "mail.a.example")
        other = make_certificate(tmp_path, "other.example")
        certificates = load(files, other)
        old, whole = shown(certificates), other.certificate.read_bytes()
        if damage == "half":
            other.certificate.write_bytes(whole[:100])
        elif damage == "other key":
            other.key.write_bytes(files.key.read_bytes())
        elif damage == "gone":
            other.key.unlink()
        else:
            other.certificate.write_bytes(b"")

        for _ in range(3):
            certificates.look()

        assert shown(certificates) == old
        errors = said(heard, "error")
        assert len(errors) == 1
        assert errors[0].startswith("the old certificates stay: ")
        renew(tmp_path, "other.example")
        certificates.look()
        assert shown(certificates, "other.example") == serial_of(other.certificate)

    def test_open_connections_go_on(self, tmp_path: Path) -> None:
        """They keep what they have agreed on."""
        certificates = load(make_certificate(tmp_path, "mail.a.example"))
        line = TlsLine(CertificateFactory(certificates)).begins_tls("mail.a.example")
        renew(tmp_path, "mail.a.example")
        certificates.look()

        assert line.client.send(b"NOOP\r\n") == 6
        line.heard()

        line.is_still_connected()


class TestStart:
    """What cannot be used is told in one line, before anybody connects."""

    @pytest.mark.parametrize(
        ("damage", "text"),
        [
            ("no file", "cannot be read (No such file or directory); put it there"),
            ("no certificate", "there is no certificate in it"),
            ("no key", "there is no private key in it"),
            ("other key", "this is not the key of"),
            ("password", "the key has a password"),
            ("weak", "TLS cannot use it"),
        ],
    )
    def test_a_broken_file_is_named(self, tmp_path: Path, damage: str, text: str) -> None:
        """With what is wrong and what to do."""
        files = make_certificate(tmp_path, "mail.a.example")
        if damage == "no file":
            files.certificate.unlink()
        elif damage == "no certificate":
            files.certificate.write_text("nothing")
        elif damage == "no key":
            files.key.write_bytes(files.certificate.read_bytes())
        elif damage == "other key":
            files.key.write_bytes(make_certificate(tmp_path, "other.example").key.read_bytes())
        elif damage == "password":
            files = make_certificate(tmp_path, "mail.a.example", password=b"secret")
        else:
            files = make_certificate(tmp_path, "mail.a.example", weak=True)

        with pytest.raises(ConfigError, match="^" + str(tmp_path)) as refused:
            load(files)

        assert text in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_relative_paths_start_at_config_yaml(self, tmp_path: Path) -> None:
        """As all paths in it do."""
        text = "tls: {certificates: [{certificate: tls/a.pem, key: /etc/b.pem}]}"

        settings = parse(text, tmp_path / "config.yaml")

        assert settings.tls.certificates == (
            CertificateSettings(certificate=tmp_path / "tls/a.pem", key=Path("/etc/b.pem")),
        )


class TestEnd:
    """Certificates that end."""

    @pytest.mark.parametrize(("days", "warnings"), [(-1, 1), (13, 1), (15, 0)])
    def test_a_certificate_that_ends_soon_is_told_of(
        self, tmp_path: Path, heard: list[LogEvent], days: int, warnings: int
    ) -> None:
        """In time for a renewal by hand, and served nonetheless."""
        certificates = load(make_certificate(tmp_path, "mail.a.example", days=days))
        assert not heard, "the log files are not open yet"

        certificates.look()

        assert len(said(heard, "warn")) == warnings
        assert shown(certificates)

    def test_it_is_told_once_a_day(self, tmp_path: Path, heard: list[LogEvent]) -> None:
        """Not at every look."""
        clock = [NOW]
        certificates = Certificates(TlsVersion.TLS12, lambda: clock[0])
        certificates.load([make_certificate(tmp_path, "mail.a.example", days=5)])
        for _ in range(49):
            certificates.look()
            clock[0] += timedelta(hours=1)

        assert len(said(heard, "warn")) == 3

    def test_it_is_told_while_its_successor_cannot_be_used(
        self, tmp_path: Path, heard: list[LogEvent]
    ) -> None:
        """That is when it matters."""
        files = make_certificate(tmp_path, "mail.a.example", days=5)
        certificates = load(files)
        files.key.unlink()

        certificates.look()

        (warning,) = said(heard, "warn")
        assert warning.endswith(
            f"{files.key}: cannot be read (No such file or directory); put it "
            "there and let mailsvc read it, or change tls.certificates in config.yaml"
        )


class TestSelfSigned:
    """The certificate for trying out."""

    def test_it_is_made_once(self, tmp_path: Path) -> None:
        """Clients that have accepted it know it again."""
        first = self_signed(tmp_path / "tls", "mail.test.com")
        octets = first.certificate.read_bytes()

        assert self_signed(tmp_path / "tls", "mail.test.com") == first
        assert first.certificate.read_bytes() == octets
        assert shown(load(first), "localhost") == serial_of(first.certificate)

    def test_it_is_good_for_this_machine_and_its_name(self, tmp_path: Path) -> None:
        """For ten years."""
        files = self_signed(tmp_path / "tls", "mail.test.com")
        made = x509.load_pem_x509_certificate(files.certificate.read_bytes())

        found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert found.get_values_for_type(x509.DNSName) == ["mail.test.com", "localhost"]
        assert found.get_values_for_type(x509.IPAddress) == [
            ip_address("127.0.0.1"),
            ip_address("::1"),
        ]
        assert made.not_valid_after_utc - NOW > timedelta(days=3650)

    def test_only_its_owner_can_read_the_key(self, tmp_path: Path) -> None:
        """Whatever the umask is."""
        old = os.umask(0)
        try:
            files = self_signed(tmp_path / "tls", "mail.test.com")
        finally:
            os.umask(old)

        assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
        assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o700

    @pytest.mark.parametrize("hostname", ["bücher.example", "my_host", "x" * 63 + ".example.com"])
    def test_every_host_name_can_have_one(self, tmp_path: Path, hostname: str) -> None:
        """Names of other scripts, names that are none, and long ones."""
        assert shown(load(self_signed(tmp_path / "tls", hostname)))

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        """In one line."""
        (tmp_path / "tls").write_text("a file is in the way")

        with pytest.raises(StartError, match="no certificate can be made there"):
            self_signed(tmp_path / "tls", "mail.test.com")

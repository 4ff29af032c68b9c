"""Every setting with its type, its unit and its default; ``config.yaml`` explains them."""

import socket
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from mailsvc.config.units import (
    MIB,
    Age,
    Count,
    CountOrNone,
    Octets,
    OctetsOrNone,
    Rate,
    RateOrNone,
    Seconds,
    SecondsOrNone,
    parse_host,
    parse_name_server,
    parse_network,
    parse_route,
)


class Kind(StrEnum):
    """What a listener speaks and to whom."""

    SMTP = "smtp"
    SUBMISSION = "submission"
    LMTP = "lmtp"
    POP3 = "pop3"

    @property
    def service(self) -> str:
        """The service that an administrator starts and stops: ``smtp`` or ``pop3``."""
        return "pop3" if self is Kind.POP3 else "smtp"


class Tls(StrEnum):
    """How a listener speaks TLS."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class TlsVersion(StrEnum):
    """The oldest version of TLS that is spoken."""

    TLS12 = "1.2"
    TLS13 = "1.3"


class ForeignFrom(StrEnum):
    """What becomes of a submitted message whose From: is not the user's."""

    REFUSE = "refuse"
    ALLOW = "allow"


class Utf8Headers(StrEnum):
    """What becomes of headers in UTF-8 for POP3 clients that have not said UTF8."""

    SEND = "send"
    REFUSE = "refuse"


class WithoutTls(StrEnum):
    """Who may log in on a connection without TLS."""

    NEVER = "never"
    LOOPBACK = "loopback"
    ALWAYS = "always"


class Relay(StrEnum):
    """Who may send to other servers."""

    USERS = "users"
    NOBODY = "nobody"


class TlsPolicy(StrEnum):
    """How much TLS another server must have."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    VERIFIED = "verified"


class Forwarding(StrEnum):
    """The sender of mail that an alias, a group or a forward sends to another server."""

    KEEP = "keep"
    SRS = "srs"


class LineEnds(StrEnum):
    """What becomes of a submitted message with a bare CR, a bare LF or a NUL."""

    REFUSE = "refuse"
    REPAIR = "repair"


class ControlAccess(StrEnum):
    """Who gets to the control socket."""

    OWNER = "owner"
    EVERYBODY = "everybody"


class RegistrationMode(StrEnum):
    """Who may make an account for himself."""

    CLOSED = "closed"
    INVITATION = "invitation"
    APPROVAL = "approval"
    OPEN = "open"


class LogLevel(StrEnum):
    """The least important events that are written to the files."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


LogName = Literal["smtp", "pop3", "delivery", "control", "service"]
"""One log; ``model.log.LOGS``."""

Port = Annotated[int, Field(ge=0, le=65535, strict=True)]
"""0 lets the system choose: for tests."""

Networks = tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network)], ...]
"""Networks such as ``192.0.2.0/24`` and ``2001:db8::/32``."""

_THIS_MACHINE: Networks = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class _Section:
    """What all sections have in common: an unknown key is an error, "5" is no number."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings(_Section):
    """The ``database`` section."""

    url: str | None = None
    readers: Annotated[int, Field(ge=1, le=64, strict=True)] = 4
    writers: Annotated[int, Field(ge=1, le=64, strict=True)] = 2
    batch_messages: Count = 256
    batch_octets: Octets = 4 * MIB
    waiting_messages: Count = 10_000
    writer_process: bool | Literal["busy"] = "busy"


@dataclass(frozen=True, kw_only=True)
class ListenerSettings(_Section):
    """One entry of the ``listeners`` section."""

    kind: Kind
    port: Port
    address: str = "127.0.0.1"
    tls: Tls = Tls.STARTTLS
    proxies: Networks = ()


@dataclass(frozen=True, kw_only=True)
class CertificateSettings(_Section):
    """One entry of ``tls.certificates``: two PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class TlsSettings(_Section):
    """The ``tls`` section."""

    certificates: tuple[CertificateSettings, ...] = ()
    # Without quotes it is a number to YAML.
    oldest_version: Annotated[
        TlsVersion, BeforeValidator(lambda value: str(value) if type(value) is float else value)
    ] = TlsVersion.TLS12
    handshake_timeout: Seconds = 30.0
    look_every: Seconds = 60.0


@dataclass(frozen=True, kw_only=True)
class SmtpSettings(_Section):
    """The ``smtp`` section."""

    largest_message: Octets = 25 * MIB
    most_recipients: Annotated[int, Field(ge=100, strict=True)] = 1000
    most_errors: Count = 20
    command_timeout: Seconds = 300.0
    content_timeout: Seconds = 300.0
    transaction_timeout: Seconds = 1800.0
    session_timeout: Seconds = 3600.0
    greeting_delay: SecondsOrNone = 1.0
    tarpit: SecondsOrNone = 1.0
    subaddress: Literal["", "+", "_", "=", "-"] = "+"
    submission_line_ends: LineEnds = LineEnds.REFUSE
    submission_from: ForeignFrom = ForeignFrom.REFUSE


@dataclass(frozen=True, kw_only=True)
class Pop3Settings(_Section):
    """The ``pop3`` section."""

    idle_timeout: Seconds = 600.0
    stalled_timeout: Seconds = 120.0
    most_errors: Count = 20
    lease: Seconds = 120.0
    tarpit: SecondsOrNone = 1.0
    login_delay: SecondsOrNone = 0.0
    utf8_headers: Utf8Headers = Utf8Headers.SEND


@dataclass(frozen=True, kw_only=True)
class LoginSettings(_Section):
    """The ``login`` section."""

    without_tls: WithoutTls = WithoutTls.LOOPBACK
    most_failures: Count = 3
    hashers: Annotated[int, Field(ge=1, le=64, strict=True)] = 2
    remember: SecondsOrNone = 300.0
    shortest_password: Annotated[int, Field(ge=8, le=128, strict=True)] = 8
    password_strength: Annotated[int, Field(ge=0, le=4, strict=True)] = 2
    scram_iterations: Annotated[int, Field(ge=4096, le=10_000_000, strict=True)] = 100_000
    failures_per_client: RateOrNone = Rate(30, 3600.0)
    failures_per_account: RateOrNone = Rate(100, 3600.0)


_RESERVED = (
    "abuse",
    "admin",
    "administrator",
    "hostmaster",
    "mailer-daemon",
    "no-reply",
    "noreply",
    "postmaster",
    "root",
    "security",
    "support",
    "webmaster",
)


@dataclass(frozen=True, kw_only=True)
class RegistrationSettings(_Section):
    """The ``registration`` section."""

    mode: RegistrationMode = RegistrationMode.CLOSED
    domains: tuple[str, ...] = ()
    reserved: tuple[str, ...] = _RESERVED
    per_client: RateOrNone = Rate(10, 3600.0)
    in_all: RateOrNone = Rate(200, 3600.0)
    most_waiting: Count = 500


@dataclass(frozen=True, kw_only=True)
class SpoolSettings(_Section):
    """The ``spool`` section."""

    message_memory: Octets = 8 * MIB
    total_memory: Octets = 64 * MIB
    spare_disk: OctetsOrNone = 64 * MIB


@dataclass(frozen=True, kw_only=True)
class LimitSettings(_Section):
    """The ``limits`` section."""

    connections: Count = 12_000
    stop_timeout: Seconds = 30.0
    exempt: Networks = _THIS_MACHINE
    client_connections: Count = 50
    client_connection_rate: RateOrNone = Rate(300, 60.0)
    client_messages: RateOrNone = Rate(1000, 3600.0)
    client_recipients: RateOrNone = Rate(5000, 3600.0)
    login_messages: RateOrNone = Rate(500, 3600.0)
    login_recipients: RateOrNone = Rate(5000, 86_400.0)


RouteDomain = Annotated[str, AfterValidator(parse_route)]
"""A domain, ``.domain`` for all that is below it, or ``*`` for everything."""


@dataclass(frozen=True, kw_only=True)
class RouteSettings(_Section):
    """One entry of ``outbound.routes``."""

    domains: Annotated[tuple[RouteDomain, ...], Field(min_length=1)]
    host: Annotated[str, AfterValidator(parse_host)]
    port: Annotated[int, Field(ge=1, le=65535, strict=True)] = 25
    tls: TlsPolicy | None = None
    implicit: bool = False
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True, kw_only=True)
class OutboundSettings(_Section):
    """The ``outbound`` section."""

    relay: Relay = Relay.USERS
    routes: dict[str, RouteSettings] = field(default_factory=dict)
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    dns: tuple[Annotated[str, AfterValidator(parse_name_server)], ...] = ()
    first_retry: Seconds = 300.0
    longest_retry: Seconds = 4 * 3600.0
    lifetime: Seconds = 5 * 86_400.0
    delay_notice: Age = 4 * 3600.0
    connections: Count = 50
    host_connections: Count = 20
    connection_messages: Count = 100
    connect_timeout: Seconds = 30.0
    command_timeout: Seconds = 300.0
    end_timeout: Seconds = 600.0
    forwarding: Forwarding = Forwarding.KEEP
    dkim: bool = True
    daily_messages: CountOrNone = 1000
    daily_new_recipients: CountOrNone = 200


@dataclass(frozen=True, kw_only=True)
class RetentionSettings(_Section):
    """The ``retention`` section."""

    trail: Age = 90 * 86_400.0
    expunged: Age = 30 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class RemoteSettings(_Section):
    """The entry ``control.remote``."""

    port: Port
    address: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ControlSettings(_Section):
    """The ``control`` section."""

    socket: Path | None = None
    access: ControlAccess = ControlAccess.OWNER
    remote: RemoteSettings | None = None


@dataclass(frozen=True, kw_only=True)
class LogSettings(_Section):
    """The ``log`` section."""

    folder: Path | None = None
    folders: dict[LogName, Path] = field(default_factory=dict)
    level: LogLevel = LogLevel.INFO
    rotate_octets: Octets = 16 * MIB
    keep: Count = 10


@dataclass(frozen=True, kw_only=True)
class FirstRunSettings(_Section):
    """The ``first_run`` section."""

    domain: str = "test.com"
    administrator: str = "admin"
    users: tuple[str, ...] = ("alice", "bob")


def _default_listeners() -> dict[str, ListenerSettings]:
    return {
        "mx": ListenerSettings(kind=Kind.SMTP, port=2525),
        "submission": ListenerSettings(kind=Kind.SUBMISSION, port=2587),
        "submissions": ListenerSettings(kind=Kind.SUBMISSION, port=2465, tls=Tls.IMPLICIT),
        "pop3": ListenerSettings(kind=Kind.POP3, port=2110),
        "pop3s": ListenerSettings(kind=Kind.POP3, port=2995, tls=Tls.IMPLICIT),
    }


def _default_filters() -> dict[str, dict[str, Any]]:
    return {"loops": {"most_hops": 100}}


@cache
def name_of_this_machine() -> str:
    """Find a name for greetings; one that resolves itself to localhost has a better one."""
    full = socket.getfqdn()
    return socket.gethostname() if full.startswith("localhost") else full


@dataclass(frozen=True, kw_only=True)
class Settings(_Section):
    """The whole file; ``load`` has made its paths absolute."""

    state: Path = Path("state")
    hostname: str | None = None
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    listeners: dict[str, ListenerSettings] = field(default_factory=_default_listeners)
    tls: TlsSettings = field(default_factory=TlsSettings)
    smtp: SmtpSettings = field(default_factory=SmtpSettings)
    pop3: Pop3Settings = field(default_factory=Pop3Settings)
    login: LoginSettings = field(default_factory=LoginSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    outbound: OutboundSettings = field(default_factory=OutboundSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    log: LogSettings = field(default_factory=LogSettings)
    filters: dict[str, dict[str, Any]] = field(default_factory=_default_filters)
    first_run: FirstRunSettings = field(default_factory=FirstRunSettings)

    @property
    def shown_name(self) -> str:
        """The name in greetings and Received fields."""
        return self.hostname or name_of_this_machine()

    @property
    def database_url(self) -> str:
        """The database to open: the configured one, or the file in the state folder."""
        return self.database.url or f"sqlite:///{self.state / 'mailsvc.db'}"

    @property
    def control_socket(self) -> Path:
        """Where mailctl finds the daemon."""
        return self.control.socket or self.state / "control.sock"

    @property
    def log_folder(self) -> Path:
        """Where the log files are."""
        return self.log.folder or self.state / "log"

"""Put the parts together, start them in order, and stop them without losing anything."""

import gc
import secrets
from collections.abc import Callable
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.mail.pop3 import IMailbox
from twisted.mail.smtp import IMessageDelivery

from mailsvc import __version__
from mailsvc.admin.administration import Administration, open_administration
from mailsvc.auth.realm import Door
from mailsvc.background import Background
from mailsvc.config.settings import (
    ControlAccess,
    Kind,
    ListenerSettings,
    RemoteSettings,
    Settings,
    Tls,
)
from mailsvc.control.server import ControlService, Remote
from mailsvc.delivery.binary import BinaryConversion
from mailsvc.delivery.intake import Intake
from mailsvc.delivery.notices import write_notice
from mailsvc.delivery.submission import SubmissionRules
from mailsvc.model.account import Account, Scope
from mailsvc.model.ids import IdSource
from mailsvc.policy.allowance import Limits
from mailsvc.policy.crowd import Leave
from mailsvc.pop3.maildrop import MaildropDoor
from mailsvc.pop3.protocol import Pop3Factory
from mailsvc.service.broadcasts import Broadcaster
from mailsvc.service.chain import build_chain
from mailsvc.service.chronicle import Chronicle
from mailsvc.service.descriptors import allow_connections
from mailsvc.service.first_run import set_up, show
from mailsvc.service.following import Followers
from mailsvc.service.listeners import Listeners, MailFactory
from mailsvc.service.live import LiveSettings
from mailsvc.service.logins import Logins
from mailsvc.service.logs import LogFiles
from mailsvc.service.outbox import Outbox
from mailsvc.service.patrol import Patrol
from mailsvc.service.retention import Retention
from mailsvc.service.rules import Rules
from mailsvc.service.self_signed import self_signed
from mailsvc.service.state_folder import StateFolder
from mailsvc.service.upkeep import Upkeep
from mailsvc.smtp.avatar import Submission
from mailsvc.smtp.protocol import SmtpFactory
from mailsvc.smtp.session import SmtpHouse
from mailsvc.spool import SpoolRoom
from mailsvc.store import nodes
from mailsvc.store.database import Database
from mailsvc.store.directory import Directory
from mailsvc.store.engine import open_engines
from mailsvc.store.maildrop import Maildrops, drop_leases
from mailsvc.store.queue import free_leases
from mailsvc.store.rules import all_rules
from mailsvc.store.schema import prepare, transact
from mailsvc.store.settings import read_settings, shared_secret
from mailsvc.store.writer_process import WriterProcess
from mailsvc.wire.certificates import Certificates
from mailsvc.wire.entrance import Entrance


class MailService(MultiService):
    """
    The whole service.

    Making it touches nothing: twistd does that as root. Ports are opened with privileges;
    files and the database only after they were dropped.

    Args:
        settings: All of config.yaml.
        reactor: Twisted's.

    Raises:
        ConfigError: A setting cannot be used.
    """

    _log = Logger()

    def __init__(self, settings: Settings, reactor: Any) -> None:
        super().__init__()
        self._settings = settings
        self._reactor = reactor
        self._ids = IdSource()
        self._node = (0, secrets.randbits(62))
        self._hostname = settings.shown_name
        self._engines = open_engines(
            settings.database_url, settings.database.readers, settings.database.writers
        )
        self._folder = StateFolder(settings.state, settings.database_url)
        self._logs = LogFiles(settings.log_folder, settings.log, reactor)
        self._database = Database(
            self._engines, settings.database, reactor, self._ids, self._writer_process()
        )
        self._directory = Directory(self._database, reactor, settings.smtp.subaddress)
        self._room = SpoolRoom(settings.state, settings.spool)
        self._chronicle = Chronicle(self._database, reactor)
        self._intake = self._make_intake()
        self._limits = Limits(settings.limits)
        self._upkeep = Upkeep(self._database, reactor, lambda: self._node, self._room.has_room)
        self._leases = Background()
        self._rules = Rules(self._database, reactor)
        self._maildrops = Maildrops(self._database)
        self._retention = Retention(self._database, self._maildrops, settings.retention, reactor)
        self._maildrop_door = MaildropDoor(self._maildrops, reactor, self._leases, settings.pop3)
        self._logins = self._make_logins()
        self._live = LiveSettings(self._database, reactor, settings)
        self._certificates = Certificates(settings.tls.oldest_version)
        self._listeners = Listeners(
            reactor,
            settings.listeners,
            self._factory,
            self._entrance,
            settings.limits.stop_timeout,
        )
        self._live.floor = self._listeners
        self._broadcaster = Broadcaster(
            self._database, reactor, lambda notice: write_notice(self._intake.hostname, notice)
        )
        self._outbox = Outbox(
            self._database,
            reactor,
            settings,
            self._node[1],
            lambda: self._intake.hostname,
            self._listeners.has_mail_port,
            self._directory.secret,
        )
        self._intake.departures = self._outbox
        self._add_parts()

    def privilegedStartService(self) -> None:
        """
        Open the ports; nothing is accepted before the reactor runs.

        Keys that only root may read are read here, too.
        """
        if self._settings.tls.certificates:
            self._certificates.load(self._settings.tls.certificates)
        allow_connections(self._settings.limits.connections)
        self._listeners.open_all()
        super().privilegedStartService()

    def startService(self) -> None:
        """
        Open the database and start the threads.

        Raises:
            StartError: It cannot start here and now; the text says what to do.
        """
        settings, engines = self._settings, self._engines
        self._folder.open()
        if not settings.tls.certificates:
            self._certificates.load([self_signed(settings.state / "tls", self._hostname)])
        prepare(engines)
        number = transact(engines, nodes.join, self._hostname, self._node[1])
        self._node = (number, self._node[1])
        self._ids.join(number)
        if engines.sqlite:
            transact(engines, drop_leases)
            transact(engines, free_leases)
        self._logins.secret = self._intake.secret = transact(engines, shared_secret)
        self._directory.shared_secret = self._intake.secret
        changed = transact(engines, read_settings)
        self._rules.use(transact(engines, all_rules))
        self._logs.start()
        self._database.start()
        self._logins.passwords.start()
        try:
            super().startService()
            self._listeners.check(self._live.begin(changed).listeners)
            # Last of all that may fail: passwords that were made must be shown.
            passwords = set_up(
                engines, self._ids, settings.first_run, settings.login.scram_iterations
            )
        except BaseException:
            # Threads would keep the process from ending.
            self._close()
            raise
        _settle_memory()
        if passwords:
            show(passwords, settings, self._port_of)

    def stopService(self) -> "Deferred[None]":
        """Send the clients away, answer what is under way, commit it, and end."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._listeners.close_all()
        await self._leases.drain_within(self._reactor, self._live.current.limits.stop_timeout)
        await super().stopService()
        await self._logins.drain()
        await self._database.rest()
        self._close()

    def _close(self) -> None:
        """End the threads, when everything that waits is committed, and let everything go."""
        self._logins.passwords.stop()
        self._database.stop()
        self._leave_node()
        self._engines.close()
        self._logs.stop()
        self._folder.close()

    def _leave_node(self) -> None:
        try:
            transact(self._engines, nodes.leave, *self._node)
        except Exception as error:  # noqa: BLE001 - it is given away after a minute anyway
            self._log.warn("the node's number was not given back: {error}", error=str(error))

    def _port_of(self, kind: str) -> int | None:
        """Find the port for a first mail: one that greets in the clear."""
        found = [one for one in self._listeners.listeners() if one.kind == kind]
        return next((one.port for one in found if one.tls != Tls.IMPLICIT), None)

    def _writer_process(self) -> WriterProcess | None:
        if not (self._engines.sqlite and self._settings.database.writer_process):
            return None
        return WriterProcess(self._reactor, self._settings.database_url, lambda: self._ids.node)

    def _make_logins(self) -> Logins:
        doors = {
            IMessageDelivery: Door(Scope.SMTP, self._receive_sender),
            IMailbox: Door(Scope.POP3, self._maildrop_door.receive),
        }
        return Logins(
            database=self._database,
            directory=self._directory,
            reactor=self._reactor,
            settings=self._settings,
            doors=doors,
            upkeep=self._upkeep,
            rules=self._rules,
            tell=self._chronicle.note,
        )

    def _make_intake(self) -> Intake:
        return Intake(
            self._database,
            build_chain(self._settings.filters, self._reactor),
            self._hostname,
            SubmissionRules(self._directory, self._settings.smtp.submission_from),
            BinaryConversion(self._room, self._reactor),
            self._chronicle.note,
            self._settings.outbound,
        )

    def _make_administration(self) -> Administration:
        return open_administration(
            database=self._database,
            directory=self._directory,
            passwords=self._logins.passwords,
            prover=self._logins.prover,
            switchboard=self._listeners,
            logbook=self._logs,
            live=self._live,
            clock=self._reactor,
            hostname=self._hostname,
            version=__version__,
            most_octets=self._settings.smtp.largest_message,
            renew_rules=self._rules.renew,
            wake_broadcasts=self._broadcaster.wake,
            send_now=self._outbox.send_now,
        )

    async def _receive_sender(self, account: Account) -> tuple[Submission, Callable[[], None]]:
        avatar = Submission(
            account,
            self._directory,
            self._intake,
            self._room,
            lambda: self._live.current.outbound.relay,
        )
        return avatar, lambda: None

    def _add_parts(self) -> None:
        """Add what runs by itself; the last one is stopped first."""
        self._look_after_mail()
        looking = TimerService(self._settings.tls.look_every, self._certificates.look)
        looking.clock = self._reactor
        looking.setServiceParent(self)
        administration = self._make_administration()
        administration.health.away = self._outbox.away
        control = self._settings.control
        if control.remote is not None:
            place = f"{control.remote.address} port {control.remote.port}"
            administration.health.remote = place
            administration.health.fingerprint = lambda: self._certificates.fingerprint
        mode = 0o666 if control.access is ControlAccess.EVERYBODY else 0o600
        ControlService(
            administration,
            self._settings.control_socket,
            self._reactor,
            mode,
            None if control.remote is None else self._remote(control.remote),
        ).setServiceParent(self)
        Followers(
            reactor=self._reactor,
            listeners=self._listeners,
            logs=self._logs,
            certificates=self._certificates,
            looking=looking,
            intake=self._intake,
            logins=self._logins,
            directory=self._directory,
            room=self._room,
            limits=self._limits,
            retention=self._retention,
            outbox=self._outbox,
            maildrop_door=self._maildrop_door,
            administration=administration,
        ).follow(self._live)
        self._live.setServiceParent(self)

    def _remote(self, settings: RemoteSettings) -> Remote:
        def enter(ip: str) -> Leave | None:
            return self._limits.enter(ip) if self._rules.admits(ip, Scope.WEB) else None

        return Remote(
            address=settings.address,
            port=settings.port,
            certificates=self._certificates,
            enter=enter,
        )

    def _look_after_mail(self) -> None:
        self._upkeep.setServiceParent(self)
        self._chronicle.setServiceParent(self)
        self._broadcaster.setServiceParent(self)
        self._outbox.setServiceParent(self)
        patrol = Patrol(self._listeners, self._directory, self._reactor, self._rules)
        patrol.setServiceParent(self)
        self._rules.on_change = patrol.wake
        self._rules.setServiceParent(self)

        def changed() -> None:
            self._rules.wake()
            patrol.wake()

        self._directory.on_change = changed
        self._retention.setServiceParent(self)

    def _entrance(self, listener: ListenerSettings) -> Entrance:
        return Entrance(
            tls=listener.tls,
            certificates=self._certificates,
            proxies=listener.proxies,
            handshake_timeout=self._live.current.tls.handshake_timeout,
        )

    def _factory(self, listener: ListenerSettings) -> MailFactory:
        settings, kind, entrance = self._live.current, listener.kind, self._entrance(listener)
        if kind is Kind.POP3:
            return Pop3Factory(
                self._logins.authenticator,
                settings,
                self._reactor,
                self._admit,
                self._limits,
                entrance,
                self._directory.shortest_keep,
                handled=self._chronicle.handled.append,
                rules=self._rules,
            )
        house = SmtpHouse(
            kind=kind,
            hostname=settings.shown_name,
            settings=settings.smtp,
            login=settings.login,
            directory=self._directory,
            intake=self._intake,
            portal=self._logins.portal,
            authenticator=self._logins.authenticator,
            has_room=self._room.has_room,
            limits=self._limits,
            tell=self._chronicle.note,
            rules=self._rules,
            relay=settings.outbound.relay,
        )
        return SmtpFactory(house, self._room, self._reactor, self._admit, entrance)

    def _admit(self) -> bool:
        """Whether one more connection may stay; it is counted already."""
        return self._listeners.count_sessions() <= self._live.current.limits.connections


def _settle_memory() -> None:
    """
    Tell the garbage collector that what is there now stays.

    It would look through all modules again and again while messages come and go; they
    leave no cycles behind, so it may also look less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)

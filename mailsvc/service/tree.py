"""Put the parts together, start them in order, and stop them without losing anything."""

import gc
import secrets
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.mail.pop3 import IMailbox
from twisted.mail.smtp import IMessageDelivery
from zope.interface import Interface

from mailsvc import __version__
from mailsvc.admin.administration import Administration, open_administration
from mailsvc.auth.checkers import AccountChecker, ProofChecker
from mailsvc.auth.enrolment import Enrolment
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.passwords import Passwords
from mailsvc.auth.realm import Door, MailRealm
from mailsvc.auth.sasl import Authenticator, KeyBook
from mailsvc.background import Background
from mailsvc.config.settings import Kind, ListenerSettings, Settings, Tls
from mailsvc.control.server import ControlService
from mailsvc.delivery.binary import BinaryConversion
from mailsvc.delivery.intake import Intake
from mailsvc.delivery.notices import write_notice
from mailsvc.delivery.submission import SubmissionRules
from mailsvc.model.account import Account, Scope, Verifier
from mailsvc.model.ids import IdSource
from mailsvc.policy.allowance import Limits
from mailsvc.pop3.maildrop import MaildropDoor
from mailsvc.pop3.protocol import Pop3Factory
from mailsvc.service.broadcasts import Broadcaster
from mailsvc.service.chain import build_chain
from mailsvc.service.chronicle import Chronicle
from mailsvc.service.descriptors import allow_connections
from mailsvc.service.first_run import set_up, show
from mailsvc.service.listeners import Listeners, MailFactory
from mailsvc.service.logs import LogFiles
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
from mailsvc.store.accounts import set_scram_keys
from mailsvc.store.database import Database
from mailsvc.store.directory import Directory
from mailsvc.store.engine import open_engines
from mailsvc.store.maildrop import Maildrops, drop_leases
from mailsvc.store.rules import all_rules
from mailsvc.store.schema import prepare, transact
from mailsvc.store.settings import read_settings, shared_secret
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
        self._hostname = settings.hostname or _name_of_this_machine()
        self._engines = open_engines(
            settings.database_url, settings.database.readers, settings.database.writers
        )
        self._folder = StateFolder(settings.state, settings.database_url)
        self._logs = LogFiles(settings.log_folder, settings.log, reactor)
        self._database = Database(self._engines, settings.database, reactor, self._ids)
        self._directory = Directory(self._database, reactor, settings.smtp.subaddress)
        self._passwords = Passwords(reactor, reactor, settings.login)
        self._room = SpoolRoom(settings.state, settings.spool)
        self._chronicle = Chronicle(self._database, reactor)
        self._intake = self._make_intake()
        self._limits = Limits(settings.limits)
        self._upkeep = Upkeep(self._database, reactor, lambda: self._node, self._room.has_room)
        self._pop3_work = Background()
        self._secret = secrets.token_bytes(32)
        self._rules = Rules(self._database, reactor)
        self._guard = LoginGuard(reactor.seconds, settings.login, settings.limits.exempt)
        self._enrolment = Enrolment(
            self._passwords, self._keep_scram, settings.login.scram_iterations
        )
        self._maildrops = Maildrops(self._database)
        doors = self._make_doors()
        self._portal = self._make_portal(doors)
        self._authenticator = self._make_authenticator(doors)
        self._certificates = Certificates(settings.tls.oldest_version)
        self._listeners = Listeners(
            reactor,
            settings.listeners,
            {name: self._factory(one) for name, one in settings.listeners.items()},
            settings.limits.stop_timeout,
        )
        self._broadcaster = Broadcaster(
            self._database, reactor, partial(write_notice, self._hostname)
        )
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
        self._secret = transact(engines, shared_secret)
        switches = transact(engines, read_settings)
        self._rules.use(transact(engines, all_rules))
        self._logs.start()
        self._database.start()
        self._passwords.start()
        try:
            super().startService()
            # Last of all that may fail: passwords that were made must be shown.
            passwords = set_up(
                engines, self._ids, settings.first_run, settings.login.scram_iterations
            )
        except BaseException:
            # Threads would keep the process from ending.
            self._close()
            raise
        _settle_memory()
        self._close_switched_off(switches)
        if passwords:
            show(passwords, settings, self._port_of)

    def stopService(self) -> "Deferred[None]":
        """Send the clients away, answer what is under way, commit it, and end."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._listeners.close_all()
        await super().stopService()
        await self._enrolment.background.drain()
        self._close()

    def _close(self) -> None:
        """End the threads, when everything that waits is committed, and let everything go."""
        self._passwords.stop()
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

    def _close_switched_off(self, switches: dict[str, Any]) -> None:
        """Stop the services that an administrator has stopped before."""
        for service in {one.kind.service for one in self._settings.listeners.values()}:
            if switches.get(f"service.{service}.running") is False:
                _ = Deferred.fromCoroutine(self._listeners.stop(service))

    def _port_of(self, kind: str) -> int | None:
        """Find the port for a first mail: one that greets in the clear."""
        found = [one for one in self._listeners.listeners() if one.kind == kind]
        return next((one.port for one in found if one.tls != Tls.IMPLICIT), None)

    def _make_doors(self) -> dict[type[Interface], Door]:
        maildrop = MaildropDoor(
            self._maildrops, self._reactor, self._pop3_work, self._settings.pop3
        )
        return {
            IMessageDelivery: Door(Scope.SMTP, self._receive_sender),
            IMailbox: Door(Scope.POP3, maildrop.receive),
        }

    def _make_portal(self, doors: dict[type[Interface], Door]) -> Portal:
        checker = AccountChecker(
            self._directory, self._passwords, self._guard, self._enrolment.learn
        )
        realm = MailRealm(self._directory, doors, self._upkeep.logged_in, self._rules.lets_in)
        return Portal(realm, (checker, ProofChecker()))

    def _make_authenticator(self, doors: dict[type[Interface], Door]) -> Authenticator:
        iterations = self._settings.login.scram_iterations
        book = KeyBook(self._directory, self._guard, iterations, lambda: self._secret)
        scopes = {interface: door.scope for interface, door in doors.items()}
        return Authenticator(self._portal, book, scopes, self._chronicle.note)

    def _make_intake(self) -> Intake:
        return Intake(
            self._database,
            build_chain(self._settings.filters, self._reactor),
            self._hostname,
            SubmissionRules(self._directory, self._settings.smtp.submission_from),
            BinaryConversion(self._room, self._reactor),
            self._chronicle.note,
        )

    def _make_administration(self) -> Administration:
        return open_administration(
            database=self._database,
            directory=self._directory,
            passwords=self._passwords,
            switchboard=self._listeners,
            logbook=self._logs,
            clock=self._reactor,
            hostname=self._hostname,
            version=__version__,
            most_octets=self._settings.smtp.largest_message,
            wake_broadcasts=self._broadcaster.wake,
        )

    async def _keep_scram(self, verifier: Verifier, scram: str) -> None:
        """Add SCRAM keys to an old credential."""
        await self._database.write(set_scram_keys, verifier, scram)
        self._directory.forget()

    async def _receive_sender(self, account: Account) -> tuple[Submission, Callable[[], None]]:
        return Submission(account, self._directory, self._intake, self._room), lambda: None

    def _add_parts(self) -> None:
        """Add what runs by itself; the last one is stopped first."""
        self._look_after_mail()
        self._watch_certificates()
        ControlService(
            self._make_administration(), self._settings.control_socket, self._reactor
        ).setServiceParent(self)

    def _look_after_mail(self) -> None:
        self._upkeep.setServiceParent(self)
        self._chronicle.setServiceParent(self)
        self._broadcaster.setServiceParent(self)
        patrol = Patrol(self._listeners, self._directory, self._reactor, self._rules)
        patrol.setServiceParent(self)
        self._rules.on_change = patrol.walk
        self._rules.setServiceParent(self)

        def changed() -> None:
            self._rules.look()
            patrol.walk()

        self._directory.on_change = changed
        Retention(
            self._database, self._maildrops, self._settings.retention, self._reactor
        ).setServiceParent(self)

    def _watch_certificates(self) -> None:
        looking = TimerService(self._settings.tls.look_every, self._certificates.look)
        looking.clock = self._reactor
        looking.setServiceParent(self)

    def _entrance(self, listener: ListenerSettings) -> Entrance:
        return Entrance(
            tls=listener.tls,
            certificates=self._certificates,
            proxies=listener.proxies,
            handshake_timeout=self._settings.tls.handshake_timeout,
        )

    def _factory(self, listener: ListenerSettings) -> MailFactory:
        settings, kind, entrance = self._settings, listener.kind, self._entrance(listener)
        if kind is Kind.POP3:
            return Pop3Factory(
                self._authenticator,
                settings,
                self._reactor,
                self._pop3_work,
                self._admit,
                self._limits,
                entrance,
                self._directory.shortest_keep,
                tell=self._chronicle.note,
                rules=self._rules,
            )
        house = SmtpHouse(
            kind=kind,
            hostname=self._hostname,
            settings=settings.smtp,
            login=settings.login,
            directory=self._directory,
            intake=self._intake,
            portal=self._portal,
            authenticator=self._authenticator,
            has_room=self._room.has_room,
            limits=self._limits,
            tell=self._chronicle.note,
            rules=self._rules,
        )
        return SmtpFactory(house, self._room, self._reactor, self._admit, entrance)

    def _admit(self) -> bool:
        """Whether one more connection may stay; it is counted already."""
        open_now = sum(one.sessions for one in self._listeners.listeners())
        return open_now <= self._settings.limits.connections


def _name_of_this_machine() -> str:
    """Find a name for greetings; a machine that resolves itself to localhost has a better one."""
    full = socket.getfqdn()
    return socket.gethostname() if full.startswith("localhost") else full


def _settle_memory() -> None:
    """
    Tell the garbage collector that what is there now stays.

    It would look through all modules again and again while messages come and go; they
    leave no cycles behind, so it may also look less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)

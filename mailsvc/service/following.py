"""How each part comes to hold to other settings while it runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from twisted.application.internet import TimerService

from mailsvc.admin.administration import Administration
from mailsvc.config.settings import Settings
from mailsvc.delivery.intake import Intake
from mailsvc.policy.allowance import Limits
from mailsvc.pop3.maildrop import MaildropDoor
from mailsvc.service.chain import build_chain
from mailsvc.service.listeners import Listeners
from mailsvc.service.live import LiveSettings
from mailsvc.service.logins import Logins
from mailsvc.service.logs import LogFiles
from mailsvc.service.outbox import Outbox
from mailsvc.service.retention import Retention
from mailsvc.service.self_signed import self_signed
from mailsvc.spool import SpoolRoom
from mailsvc.store.directory import Directory
from mailsvc.wire.certificates import Certificates


@dataclass(frozen=True, kw_only=True)
class Followers:
    """
    The parts that hold to settings.

    Args:
        reactor: For filters that need time.
        looking: Looks whether a certificate was renewed.
    """

    reactor: Any
    listeners: Listeners
    logs: LogFiles
    certificates: Certificates
    looking: TimerService
    intake: Intake
    logins: Logins
    directory: Directory
    room: SpoolRoom
    limits: Limits
    retention: Retention
    outbox: Outbox
    maildrop_door: MaildropDoor
    administration: Administration

    def follow(self, live: LiveSettings) -> None:
        """Go with what *live* puts in force; first come those that may refuse."""
        live.careful += [
            lambda settings: self.listeners.trying(settings.listeners),
            lambda settings: self.logs.trying(settings.log_folder, settings.log),
            lambda settings: self._trying_certificates(live.current, settings),
            lambda settings: self._trying_filters(live.current, settings),
        ]
        live.followers += [self._use, self._look_as_often, self.listeners.use]

    def _use(self, settings: Settings) -> None:
        self.logins.use(settings)
        self.directory.subaddress = settings.smtp.subaddress
        self.directory.forget()
        self.room.use(settings.spool)
        self.limits.use(settings.limits)
        self.retention.settings = settings.retention
        self.intake.hostname = settings.shown_name
        self.intake.submission.foreign_from = settings.smtp.submission_from
        self.intake.outbound = settings.outbound
        self.outbox.use(settings)
        self.maildrop_door.use(settings.pop3)
        self.administration.use(settings.shown_name, settings.smtp.largest_message)

    def _look_as_often(self, settings: Settings) -> None:
        if self.looking.step != settings.tls.look_every:
            self.looking.stopService()
            self.looking.step = settings.tls.look_every
            self.looking.startService()

    @asynccontextmanager
    async def _trying_certificates(self, was: Settings, shall: Settings) -> AsyncIterator[None]:
        if (was.tls.certificates, was.tls.oldest_version) == (
            shall.tls.certificates,
            shall.tls.oldest_version,
        ):
            yield
            return
        files = shall.tls.certificates or [self_signed(shall.state / "tls", shall.shown_name)]
        use = self.certificates.prepare(files, shall.tls.oldest_version)
        yield
        use()

    @asynccontextmanager
    async def _trying_filters(self, was: Settings, shall: Settings) -> AsyncIterator[None]:
        if was.filters == shall.filters:
            yield
            return
        chain = build_chain(shall.filters, self.reactor)
        yield
        self.intake.chain = chain

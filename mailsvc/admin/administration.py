"""Everything an administrator can do; who asks, and whether he may, is the front end's matter."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from mailsvc.admin.aliases import Aliases
from mailsvc.admin.broadcasts import Broadcasts
from mailsvc.admin.dkim import Dkim
from mailsvc.admin.domains import Domains
from mailsvc.admin.export import Export
from mailsvc.admin.filters import Filters
from mailsvc.admin.health import Health
from mailsvc.admin.invitations import Invitations
from mailsvc.admin.logs import Logs
from mailsvc.admin.office import Office
from mailsvc.admin.queue import Queue
from mailsvc.admin.registration import Registration
from mailsvc.admin.services import Services
from mailsvc.admin.sessions import Sessions
from mailsvc.admin.settings import SettingsDesk
from mailsvc.admin.trail import Trail
from mailsvc.admin.users import Users
from mailsvc.auth.passwords import Passwords
from mailsvc.auth.prover import Prover
from mailsvc.interfaces import ILiveSettings, ILogBook, ISwitchboard
from mailsvc.store.database import Database
from mailsvc.store.directory import Directory


@dataclass(frozen=True, kw_only=True)
class Administration:
    """
    Does what an administrator asks for and notes it in the trail; each topic is a part.

    Every method may raise ``CommandError``, whose text says what to do, and ``MailError``
    when the database does not take it; nothing was changed then. *by* is who asked: text
    for the trail.

    Args:
        aliases: Addresses that lead elsewhere.
        broadcasts: Messages to many.
        dkim: Keys that sign mail.
        domains: The domains that are ours.
        export: Mail as it is stored.
        filters: Who is kept out.
        health: How the daemon is.
        invitations: Codes with which people make their own accounts.
        logs: What was written down.
        queue: Mail that waits for other servers.
        registration: What people may do who are no administrators.
        services: What is started and stopped.
        settings: What the daemon goes by.
        sessions: Who is connected.
        trail: What happened.
        users: Accounts.
    """

    aliases: Aliases
    broadcasts: Broadcasts
    dkim: Dkim
    domains: Domains
    export: Export
    filters: Filters
    health: Health
    invitations: Invitations
    logs: Logs
    queue: Queue
    registration: Registration
    services: Services
    sessions: Sessions
    settings: SettingsDesk
    trail: Trail
    users: Users

    def use(self, hostname: str, most_octets: int) -> None:
        """Go by another name, and another largest message, from now on."""
        self.health.hostname = self.broadcasts.hostname = hostname
        self.queue.hostname = self.dkim.hostname = hostname
        self.broadcasts.most_octets = most_octets


def open_administration(
    *,
    database: Database,
    directory: Directory,
    passwords: Passwords,
    prover: Prover,
    switchboard: ISwitchboard,
    logbook: ILogBook,
    live: ILiveSettings,
    clock: IReactorTime,
    hostname: str,
    version: str,
    most_octets: int,
    renew_rules: Callable[[], Awaitable[None]],
    wake_broadcasts: Callable[[], None],
    send_now: Callable[[Collection[str]], None],
) -> Administration:
    """
    Put the parts together.

    Args:
        database: Where everything is.
        directory: Told of every change.
        passwords: Makes verifiers.
        prover: Checks the password of a user.
        switchboard: Opens and closes the listeners.
        logbook: Has the log files.
        live: Has the settings in force.
        clock: Tells the uptime, which begins now.
        hostname: The name of this service in greetings.
        version: Of mailsvc.
        most_octets: The largest message.
        renew_rules: Puts changed rules in force.
        wake_broadcasts: Called when there is a broadcast to deliver.
        send_now: Called with domains whose mail is to leave at once.
    """
    office = Office(database, directory)
    return Administration(
        aliases=Aliases(office),
        broadcasts=Broadcasts(
            office, clock, hostname=hostname, most_octets=most_octets, wake=wake_broadcasts
        ),
        dkim=Dkim(office, hostname),
        domains=Domains(office),
        export=Export(office),
        filters=Filters(office, renew_rules),
        health=Health(database, switchboard, clock, hostname=hostname, version=version),
        invitations=Invitations(office),
        logs=Logs(office, logbook),
        queue=Queue(office, hostname, send_now),
        registration=Registration(office, passwords, prover, live, clock),
        services=Services(office, switchboard, live.lock),
        sessions=Sessions(office, switchboard),
        settings=SettingsDesk(office, live),
        trail=Trail(office),
        users=Users(office, passwords, live),
    )

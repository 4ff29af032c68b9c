"""The services: started and stopped as a whole, one listener at a time, or for a time."""

from datetime import UTC, datetime, timedelta

from twisted.internet.defer import DeferredLock

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_span
from mailsvc.errors import CommandError, MailError, NotFound
from mailsvc.interfaces import ISwitchboard
from mailsvc.model.listener import ListenerState
from mailsvc.model.switch import Switch, switch_name, write_switch
from mailsvc.store.settings import replace_setting
from mailsvc.store.trail import Record

_LISTENER = "listeners."
"""Begins the name of a listener that is called like a service."""


class Services:
    """
    Starts and stops services; errors as in ``Administration``.

    Args:
        office: Where changes are made.
        switchboard: Opens and closes the listeners.
        lock: Held while something is switched.
    """

    def __init__(self, office: Office, switchboard: ISwitchboard, lock: DeferredLock) -> None:
        self._office = office
        self._switchboard = switchboard
        self._lock = lock

    async def switch(
        self, which: str, *, running: bool, by: str, span: timedelta | None = None
    ) -> tuple[ListenerState, ...]:
        """
        Start or stop something, for now and for the next start of the daemon.

        Args:
            which: ``smtp``, ``pop3``, or the name of a listener; of one that is called like
                a service ``listeners.pop3``.
            running: What it shall do.
            by: Who asks.
            span: How long; then it turns by itself. None: until it is switched again.

        Returns:
            The listeners that are meant, as they are now.

        Raises:
            NotFound: There is no such service or listener.
            CommandError: A port cannot be opened.
        """
        checked_span(span)
        until = None if span is None else datetime.now(UTC) + span
        wanted = Switch(running, until)
        async with self._lock:
            service, names = self._meant(which)
            await (self._start if running else self._stop)(service, names, wanted, by)
        return tuple(one for one in self._switchboard.listeners() if one.name in names)

    def _meant(self, which: str) -> tuple[str, list[str]]:
        """Tell which listeners are meant, and whether as a service or as one."""
        listeners = self._switchboard.listeners()
        names = [one.name for one in listeners if one.service == which]
        if names:
            return which, names
        name = which.removeprefix(_LISTENER)
        if any(one.name == name for one in listeners):
            return "", [name]
        there = ", ".join(one.name for one in listeners)
        raise NotFound(
            f"there is no service and no listener {which!r}; there are smtp, pop3, and the"
            f" listeners {there}"
        )

    async def _start(self, service: str, names: list[str], wanted: Switch, by: str) -> None:
        """Open first: what cannot be opened is not remembered as running."""
        closed = [
            one.name
            for one in self._switchboard.listeners()
            if one.name in names and not one.running
        ]
        try:
            await self._switchboard.switch(dict.fromkeys(names, wanted))
            await self._remember(service, names, wanted, by)
        except (CommandError, MailError):
            await self._switchboard.switch(dict.fromkeys(closed, Switch(running=False)))
            raise

    async def _stop(self, service: str, names: list[str], wanted: Switch, by: str) -> None:
        """Remember first: only that can fail."""
        await self._remember(service, names, wanted, by)
        await self._switchboard.switch(dict.fromkeys(names, wanted))

    async def _remember(self, service: str, names: list[str], wanted: Switch, by: str) -> None:
        """Write it down for the next start, and for other nodes."""
        what = {"service": service} if service else {"listener": names[0]}
        if wanted.until is not None:
            what["until"] = wanted.until.isoformat(timespec="seconds")
        record = Record(by, f"service {'start' if wanted.running else 'stop'}", what)
        # A service takes the switches that its listeners had for themselves away.
        own = [switch_name("", name) for name in names] if service else []
        name = switch_name(service) if service else switch_name("", names[0])
        await self._office.change(record, replace_setting, name, write_switch(wanted), by, own)

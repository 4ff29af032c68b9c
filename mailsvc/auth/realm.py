"""The realm of ``twisted.cred``: from an account to what it may do on one front end."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.cred.error import LoginDenied
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

from mailsvc.errors import LoginForbidden
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account, Scope
from mailsvc.model.ids import AccountId

Avatar = tuple[type[Interface], Any, Callable[[], None]]


class NotAllowed(LoginForbidden, LoginDenied):
    """The account is disabled, or its switch for this front end is off."""


@dataclass(frozen=True, slots=True)
class Door:
    """
    How one front end receives a user.

    Args:
        scope: The account's switch that opens it.
        receive: Makes the avatar and what to call when the user leaves.
    """

    scope: Scope
    receive: Callable[[Account], Awaitable[tuple[Any, Callable[[], None]]]]


@implementer(IRealm)
class MailRealm:
    """
    Hands out avatars: ``smtp.IMessageDelivery``, ``pop3.IMailbox`` and what is added later.

    Args:
        directory: Where accounts are found.
        doors: One per interface that a front end may ask for.
        note: Told of every account that came in.
        lets_in: Asked whether a rule keeps somebody out.
    """

    def __init__(
        self,
        directory: IDirectory,
        doors: Mapping[type[Interface], Door],
        note: Callable[[Account], None] = lambda account: None,  # noqa: ARG005 - tells nobody
        lets_in: Callable[[Account, Scope], bool] = lambda *_: True,
    ) -> None:
        self._lets_in = lets_in
        self._directory = directory
        self._doors = doors
        self._note = note

    def requestAvatar(
        self,
        avatarId: bytes | tuple[()],  # noqa: N803 - Twisted's spelling
        mind: object,
        *interfaces: type[Interface],
    ) -> "Deferred[Avatar]":
        """
        Receive a user.

        Fails with ``NotAllowed`` when the account may not, and with whatever the front
        end's door says, such as ``MaildropInUse``.
        """
        del mind
        return Deferred.fromCoroutine(self._receive(avatarId, interfaces))

    async def _receive(
        self, avatar_id: bytes | tuple[()], interfaces: tuple[type[Interface], ...]
    ) -> Avatar:
        account = await self._directory.by_id(AccountId(int(avatar_id or b"0")))
        for interface in interfaces:
            door = self._doors.get(interface)
            if door is None:
                continue
            if account is None or not account.enabled or door.scope not in account.scopes:
                raise NotAllowed
            if not self._lets_in(account, door.scope):
                raise NotAllowed
            avatar, leave = await door.receive(account)
            self._note(account)
            return interface, avatar, leave
        raise NotImplementedError(f"nobody receives {interfaces}")

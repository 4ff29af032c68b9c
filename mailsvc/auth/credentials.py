"""What ``twisted.cred`` gets to check: who comes in, from where and for what."""

from dataclasses import dataclass, field

from twisted.cred.credentials import ICredentials, IUsernamePassword
from zope.interface import Attribute, implementer

from mailsvc.model.account import Scope
from mailsvc.model.envelope import Client
from mailsvc.model.ids import AccountId


class IClientPassword(IUsernamePassword):
    """A user name and a password, with where they come from and what they are to open."""

    client: Client = Attribute("Who says them: failed logins are counted.")
    scope: Scope = Attribute("The front end: a credential may be good for some of them only.")


class IProven(ICredentials):
    """A user who has proven to know the password without saying it."""

    account: AccountId = Attribute("Who.")


@implementer(IClientPassword)
@dataclass(frozen=True, slots=True)
class ClientPassword:
    """
    User name and password as a client said them.

    Args:
        username: As on the wire.
        password: As on the wire.
        client: Who says them.
        scope: The front end.
    """

    username: bytes
    password: bytes = field(repr=False)
    client: Client
    scope: Scope

    def checkPassword(self, password: bytes) -> bool:
        """Compare with a password in plain text; ``IUsernamePassword`` wants it."""
        return password == self.password


@implementer(IProven)
@dataclass(frozen=True, slots=True)
class Proven:
    """
    Made by an exchange that has seen the proof, and by nobody else.

    Args:
        account: Whose.
    """

    account: AccountId

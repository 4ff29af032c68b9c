"""What people may do who are no administrators: make an account, change their password."""

from hashlib import sha256

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_language, checked_name, checked_password
from mailsvc.auth.passwords import Passwords
from mailsvc.auth.prover import Prover
from mailsvc.auth.strength import weakness
from mailsvc.config.settings import LoginSettings, RegistrationMode, RegistrationSettings
from mailsvc.errors import CommandError, LoginFailed, TooManyFailures
from mailsvc.interfaces import ILiveSettings
from mailsvc.model.account import Account, Role
from mailsvc.model.address import Address
from mailsvc.model.envelope import Client
from mailsvc.model.registration import Registered, Registrant, RegistrationRules
from mailsvc.policy.limits import Throttle, network_of, with_rate
from mailsvc.store.accounts import NewAccount, set_password
from mailsvc.store.invitations import invited_to, register
from mailsvc.store.trail import Record

_LONGEST_NAME = 255
"""Characters of a user name in the log: strangers choose it."""
_ALL = ""
"""The key of the limit that all together have."""


class Registration:
    """
    Serves people who are not logged in; errors as in ``Administration``.

    Args:
        office: Where changes are made.
        passwords: Makes verifiers.
        prover: Checks the password of a user.
        live: Has the settings in force.
        clock: For limits.
    """

    _log = Logger()

    def __init__(
        self,
        office: Office,
        passwords: Passwords,
        prover: Prover,
        live: ILiveSettings,
        clock: IReactorTime,
    ) -> None:
        self._office = office
        self._passwords = passwords
        self._prover = prover
        self._live = live
        self._clock = clock
        self._one: Throttle | None = None
        self._all: Throttle | None = None

    async def rules(self) -> RegistrationRules:
        """Tell what somebody who wants to register must know."""
        return RegistrationRules(
            mode=self._settings.mode.value,
            domains=await self._domains(),
            shortest_password=self._login.shortest_password,
        )

    async def register(self, who: Registrant, client: Client) -> Registered:
        """
        Make an account for somebody who asks for it himself.

        Raises:
            CommandError: He may not, the text says why; nothing was made.
            AlreadyThere: The address is taken.
        """
        settings = self._settings
        if settings.mode is RegistrationMode.CLOSED:
            raise CommandError("nobody can register here: ask an administrator for an account")
        self._take_turn(client)
        address, digest = await self._admitted(who)
        name, language = checked_name(who.display_name), checked_language(who.language)
        self._check_password(who.password, [str(address), name])
        stored = await self._passwords.make(who.password)
        pending = settings.mode is RegistrationMode.APPROVAL and not digest
        new = NewAccount(
            address=address,
            hashed=stored.hashed,
            scram=stored.scram,
            display_name=name,
            role=Role.USER,
            language=language,
            enabled=not pending,
        )
        told = {"address": str(address), "pending": pending, "invited": bool(digest)}
        await self._office.change_account(
            Record(client.ip, "register", told),
            register,
            self._office.ids,
            new,
            digest,
            settings.most_waiting,
        )
        return Registered(address, pending)

    async def change_password(
        self, address: str, old: bytes, new: bytes, client: Client
    ) -> Address:
        """
        Replace the password of somebody who says the old one.

        Raises:
            CommandError: The old one is wrong, too many were, or the new one is not possible.
        """
        account = await self.log_in(address, old, client)
        self._check_password(new, [str(account.address), account.display_name])
        if new == old:
            raise CommandError("the new password is the old one")
        stored = await self._passwords.make(new)
        record = Record(client.ip, "own passwd", {"address": str(account.address)})
        await self._office.change_account(
            record, set_password, self._office.ids, account.address, stored
        )
        return account.address

    async def log_in(self, username: str, password: bytes, client: Client) -> Account:
        """
        Find out who somebody is.

        Raises:
            CommandError: It is nobody, or nobody is looked at for a while.
        """
        try:
            return await self._prover.prove(username, password, client)
        except TooManyFailures:
            self._log.info("{client} must wait: too many failed logins", client=client.ip)
            raise CommandError(
                "too many failed logins; wait some minutes before you try again"
            ) from None
        except LoginFailed:
            self._log.info(
                "login of {user!r} from {client} failed",
                user=username[:_LONGEST_NAME],
                client=client.ip,
            )
            raise CommandError("user name or password is wrong") from None

    async def log_in_to_administrate(
        self, username: str, password: bytes, client: Client
    ) -> Account:
        """
        Find out which administrator somebody is.

        Raises:
            CommandError: He is none, or nobody is looked at for a while.
        """
        account = await self.log_in(username, password, client)
        if account.role is not Role.ADMIN:
            self._log.info(
                "{user} from {client} is no administrator",
                user=account.address,
                client=client.ip,
            )
            raise CommandError(f"{account.address} is no administrator")
        by = f"{account.address} at {client.ip}"
        await self._office.note(Record(by, "login to administrate", {"from": client.ip}))
        return account

    async def may_still(self, then: Account) -> bool:
        """Tell whether an administrator who has logged in may go on: each command asks."""
        now = await self._office.directory.by_id(then.id)
        if now is None or not now.enabled or now.role is not Role.ADMIN:
            return False
        good = {(one.id, one.hashed) for one in now.verifiers}
        return all((one.id, one.hashed) in good for one in then.verifiers)

    @property
    def _settings(self) -> RegistrationSettings:
        return self._live.current.registration

    @property
    def _login(self) -> LoginSettings:
        return self._live.current.login

    def _take_turn(self, client: Client) -> None:
        """Count an attempt, whatever comes of it: codes and addresses could be guessed."""
        self._one = with_rate(self._one, self._settings.per_client)
        self._all = with_rate(self._all, self._settings.in_all)
        now = self._clock.seconds()
        for throttle, key in ((self._one, network_of(client.ip)), (self._all, _ALL)):
            if throttle is not None and not throttle.take(key, now):
                raise CommandError("too many have registered from here; try again later")

    async def _domains(self) -> tuple[str, ...]:
        """Tell where accounts can be made."""
        named = self._settings.domains
        home = None if named else await self._office.directory.home()
        return named if home is None else (home,)

    async def _admitted(self, who: Registrant) -> tuple[Address, str]:
        """Check where somebody wants to be, and whether he may; gives what he has used for it."""
        settings, domains = self._settings, await self._domains()
        digest = ""
        if who.code or settings.mode is RegistrationMode.INVITATION:
            digest = digest_of(who.code)
            within = await self._office.database.run(invited_to, digest)
            if within is None:
                raise CommandError(
                    "this needs the code of an invitation, and this one is not good"
                    if who.code
                    else "this needs the code of an invitation: ask an administrator for one"
                )
            domains = (within,) if within else domains
        if not domains:
            raise CommandError("there is no domain yet: ask an administrator")
        text = who.address if "@" in who.address else f"{who.address}@{domains[0]}"
        address = await self._office.address(text)
        if address.domain not in domains:
            raise CommandError(f"accounts can be made in {', '.join(domains)} only")
        if address.key.rpartition("@")[0] in settings.reserved:
            raise CommandError(f"the name {address} is reserved; choose another one")
        mark = self._live.current.smtp.subaddress
        if mark and mark in str(address).rpartition("@")[0]:
            raise CommandError(f"a name has no {mark!r}: mail for alice{mark}tag goes to alice")
        return address, digest

    def _check_password(self, password: bytes, about: list[str]) -> None:
        """Refuse what is too short or easy to guess."""
        checked_password(password, self._login.shortest_password)
        text = password.decode("utf-8", "replace")
        why = weakness(text, self._login.password_strength, [one for one in about if one])
        if why:
            raise CommandError(f"the password is too easy to guess. {why}")


def digest_of(code: str) -> str:
    """Give what the database has of a code; case, spaces and hyphens do not matter."""
    plain = "".join(code.split()).replace("-", "").casefold()
    return sha256(plain.encode("utf-8", "replace")).hexdigest()

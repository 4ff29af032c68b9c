"""Hold up those who guess passwords, and nobody else."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.cred.error import LoginDenied

from mailsvc.config.settings import LoginSettings, Networks
from mailsvc.errors import TooBusy, TooManyFailures
from mailsvc.model.envelope import Client
from mailsvc.policy.limits import Throttle, in_words, is_exempt, network_of, with_rate

KNOWN_FOR = 30 * 86_400.0
"""Seconds that a network stays known to an account after a login."""
MOST_KNOWN = 50_000
"""Pairs of account and network; the one that is unused longest is forgotten."""
LEAST_AT_ONCE = 4
"""Password checks of one client that may wait at the same time, however few threads."""


class HeldUp(TooManyFailures, LoginDenied):
    """The one answer to a client, or for an account, with too many failures."""


class LoginGuard:
    """
    Counts failed logins of clients and of accounts.

    A client is one network, as ``network_of`` says. Networks from which the user of an
    account has logged in lately are known to it: each has the limit of the account for
    itself, so failures of others do not hold them up, and theirs hold up nobody else.
    Nobody can lock a user out from outside, and nobody guesses without a limit from inside.
    All this is remembered in memory, by each node for itself.

    Args:
        seconds: The clock.
        settings: How many failures are too many.
        exempt: Networks that are not held up as clients.
    """

    def __init__(
        self, seconds: Callable[[], float], settings: LoginSettings, exempt: Networks = ()
    ) -> None:
        self._seconds = seconds
        self._clients: Throttle | None = None
        self._accounts: Throttle | None = None
        self.use(settings, exempt)
        self._checking: Counter[str] = Counter()
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()

    def use(self, settings: LoginSettings, exempt: Networks) -> None:
        """Hold to other limits from now on; a rate that stays goes on counting."""
        self._exempt = exempt
        self._clients = with_rate(self._clients, settings.failures_per_client)
        self._accounts = with_rate(self._accounts, settings.failures_per_account)
        self._most_at_once = max(LEAST_AT_ONCE, 2 * settings.hashers)

    def admit(self, client: Client, account: str) -> None:
        """
        Ask before a password is looked at.

        Args:
            client: Who wants to log in.
            account: The key of the name, whether or not there is such an account.

        Raises:
            HeldUp: Too many logins have failed; the text says for how long.
        """
        now, network, wait = self._seconds(), network_of(client.ip), 0.0
        if self._clients is not None and not self._is_exempt(client):
            wait = self._clients.wait(network, now)
        if self._accounts is not None:
            wait = max(wait, self._accounts.wait(self._bucket(account, network), now))
        if wait > 0:
            raise HeldUp(f"Too many failed logins; try again in {in_words(wait)}")

    def failed(self, client: Client, account: str | None) -> None:
        """Count a failed login; *account* None: for no account in particular."""
        now, network = self._seconds(), network_of(client.ip)
        if self._clients is not None and not self._is_exempt(client):
            self._clients.take(network, now)
        if self._accounts is not None and account is not None:
            self._accounts.take(self._bucket(account, network), now)

    def passed(self, client: Client, account: str) -> None:
        """Note a right password."""
        pair = (account, network_of(client.ip))
        self._known[pair] = self._seconds() + KNOWN_FOR
        self._known.move_to_end(pair)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    @contextmanager
    def place(self, client: Client) -> Iterator[None]:
        """
        Hold one of the places of a client while its password is checked.

        Raises:
            TooBusy: It has as many checks under way as one client may have.
        """
        network = network_of(client.ip)
        if self._checking[network] >= self._most_at_once and not self._is_exempt(client):
            raise TooBusy
        self._checking[network] += 1
        try:
            yield
        finally:
            self._checking[network] -= 1
            if not self._checking[network]:
                del self._checking[network]

    def _bucket(self, account: str, network: str) -> str | tuple[str, str]:
        """Name what failures for an account count for."""
        pair = (account, network)
        return pair if self._known.get(pair, 0.0) > self._seconds() else account

    def _is_exempt(self, client: Client) -> bool:
        return is_exempt(client.ip, self._exempt)

"""Nearly full mailboxes are told once, full ones keep nobody else's mail out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from mailsvc.errors import MailboxFull, MailboxTooSmall
from mailsvc.model.account import Account
from mailsvc.model.quota import QuotaNotice, Usage, share_told
from mailsvc.model.sending import LimitNotice
from mailsvc.store.deliveries import DeliverBatch
from mailsvc.store.delivery import Delivery, WholeContent
from mailsvc.store.engine import Engines
from mailsvc.store.maildrop import expunge
from mailsvc.store.routes import usage_of
from mailsvc.store.tables import account, trail
from tests.support.mail_store import TRACE, Store, check_books

NOTICE = b"x" * 10


@pytest.fixture
def house(engines: Engines) -> "House":
    """Give a store that tells owners."""
    return House(Store(engines))


class House:
    """A store whose notices are noted."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.notices: list[QuotaNotice] = []
        self.batch = DeliverBatch(store.ids, self.write)

    def write(self, notice: QuotaNotice | LimitNotice) -> WholeContent:
        """Note it, and make a small message."""
        assert isinstance(notice, QuotaNotice)
        self.notices.append(notice)
        return WholeContent(NOTICE)

    def deliver(self, *deliveries: Delivery) -> list[Any]:
        """Deliver all in one transaction."""
        return list(self.store.do(self.batch, deliveries))

    def fill(self, owner: Account, octets: int, sender: str = "x@a.org") -> Any:
        """Deliver one message of so many octets with its trace."""
        mail = self.store.delivery(b"y" * (octets - len(TRACE)), owner, sender=sender)
        return self.deliver(mail)[0]

    def shares(self) -> list[int]:
        """Tell which shares were told."""
        return [one.share for one in self.notices]

    def clear(self, owner: Account, *uids: int) -> None:
        """Remove messages as POP3 does."""
        self.store.do(expunge, self.store.lease(owner), uids)

    def told(self, owner: Account) -> int:
        """Tell what the row remembers."""
        wanted = select(account.c.quota_told).where(account.c.id == owner.id)
        return int(self.store.do(lambda conn: conn.scalar(wanted)))

    def events(self) -> list[tuple[str, str, str]]:
        """List the trail."""
        wanted = select(trail.c.event, trail.c.recipient, trail.c.status).order_by(trail.c.id)
        return [tuple(row) for row in self.store.do(lambda conn: conn.execute(wanted).all())]


class TestNotices:
    """An owner is told at 80 and at 95 percent."""

    def test_each_share_is_told_once(self, house: House) -> None:
        """Not with every message from then on; the notice is in the inbox."""
        alice = house.store.add("alice", quota_octets=10_000)
        for octets in (7900, 500, 400, 500, 300, 100):
            assert house.fill(alice, octets) is None

        assert house.shares() == [80, 95]
        assert house.notices[0].usage == Usage(8400, 2)
        assert len(house.store.uids(alice)) == 8
        assert [event for event, *_ in house.events()].count("notice") == 2
        house.store.do(check_books)

    def test_messages_count_like_octets(self, house: House) -> None:
        """Whichever is nearer to its end; a jump over both shares is told once."""
        alice = house.store.add("alice", quota_octets=10_000, quota_messages=10)
        house.deliver(*(house.store.delivery(b"", alice) for _ in range(8)))
        assert house.shares() == [80]

        bob = house.store.add("bob", quota_octets=1000)
        house.fill(bob, 960)
        assert house.shares() == [80, 95]

    @pytest.mark.parametrize("first", [100, 850])
    def test_who_made_room_is_told_anew(self, house: House, first: int) -> None:
        """Whether usage grows slowly or at once."""
        alice = house.store.add("alice", quota_octets=1000)
        house.fill(alice, 850)
        house.clear(alice, 1, 2)
        house.fill(alice, first)
        assert house.told(alice) == (0 if first == 100 else 80)
        house.fill(alice, 800 if first == 100 else 60)

        assert house.shares()[:2] == [80, 80]

    def test_who_stays_above_is_not_told_anew(self, house: House) -> None:
        """From 95 down to 85 and up to 90 is no news; up to 95 again is."""
        alice = house.store.add("alice", quota_octets=1000)
        house.fill(alice, 700)
        house.fill(alice, 100)
        house.fill(alice, 150)
        assert house.shares() == [80, 95]

        house.clear(alice, 2)
        house.fill(alice, 50)
        assert house.shares() == [80, 95]
        house.fill(alice, 50)
        assert house.shares() == [80, 95, 95]

    def test_a_notice_never_takes_the_room_of_mail(self, house: House) -> None:
        """It is dropped where it does not fit, and told later."""
        alice = house.store.add("alice", quota_octets=1000)
        assert house.fill(alice, 995) is None
        assert (house.store.uids(alice), house.told(alice)) == ([1], 0)

        house.clear(alice, 1)
        house.fill(alice, 850)
        assert house.told(alice) == 80

    def test_the_owner_is_known_to_the_writer(self, house: House) -> None:
        """Address, language and limits."""
        alice = house.store.add("alice", quota_messages=1, quota_octets=5000)
        zh = update(account).where(account.c.id == alice.id).values(language="zh")
        house.store.do(lambda conn: conn.execute(zh))
        house.store.do(lambda conn: conn.execute(update(account).values(quota_messages=5)))
        alice = replace(alice, quota_messages=5)
        for _ in range(4):
            house.fill(alice, 50)

        [notice] = house.notices
        assert (notice.owner, notice.language) == (alice.address, "zh")
        assert (notice.quota_octets, notice.quota_messages) == (5000, 5)

    def test_without_a_quota_nothing_is_asked(self, house: House) -> None:
        """Deliveries to such accounts cost what they did."""
        alice = house.store.add("alice")
        house.fill(alice, 100_000)

        assert (house.notices, house.told(alice)) == ([], 0)


class TestFull:
    """What becomes of a message when a mailbox is full."""

    def test_what_can_never_fit_is_told_so(self, house: House) -> None:
        """Larger than the whole quota: for good. Else later."""
        alice = house.store.add("alice", quota_octets=1000)
        house.fill(alice, 600)

        assert type(house.fill(alice, 600)) is MailboxFull
        assert type(house.fill(alice, 1001)) is MailboxTooSmall
        assert type(house.fill(alice, 401)) is MailboxFull
        assert house.fill(alice, 400) is None

    def test_a_full_member_keeps_no_mail_from_a_group(self, house: House) -> None:
        """Who is full is left out, and the trail tells."""
        alice = house.store.add("alice", quota_messages=1)
        house.fill(alice, 100)
        bob = house.store.add("bob")

        assert house.deliver(to_group(house.store, alice, bob)) == [None]

        assert (house.store.uids(alice), house.store.uids(bob)) == ([1], [1])
        told = house.events()[-2:]
        assert told == [
            ("accepted", "team@test.com", "2.0.0"),
            ("skipped", "team@test.com", "4.2.2"),
        ]
        house.store.do(check_books)

    @pytest.mark.parametrize("change", ["all full", "required"])
    def test_somebody_must_get_it(self, house: House, change: str) -> None:
        """All members are full, or one of them is a recipient, too: the sender keeps it."""
        alice = house.store.add("alice", quota_messages=1)
        bob = house.store.add("bob", quota_messages=1 if change == "all full" else 9)
        house.fill(alice, 100)
        house.fill(bob, 100)
        mail = to_group(house.store, alice, bob)
        if change == "required":
            mail = mail._replace(
                targets=(mail.targets[0]._replace(required=True), *mail.targets[1:])
            )

        assert [type(one) for one in house.deliver(mail)] == [MailboxFull]
        assert house.store.uids(bob) == [1]


def to_group(store: Store, *members: Account) -> Delivery:
    """Address a message to a group."""
    mail = store.delivery(b"hello\r\n", *members)
    change: Callable[..., Any] = lambda one: one._replace(recipient="team@test.com", required=False)  # noqa: E731 - short
    return mail._replace(targets=tuple(map(change, mail.targets)))


def test_usage_counts_all_folders(house: House) -> None:
    """As the transaction does."""
    alice = house.store.add("alice")
    house.fill(alice, 100)

    assert house.store.do(usage_of, alice.id) == Usage(100, 1)


@pytest.mark.parametrize(
    ("octets", "messages", "expected"),
    [(799, 0, 0), (800, 0, 80), (949, 7, 80), (0, 8, 80), (950, 0, 95), (0, 10, 95), (5000, 0, 95)],
)
def test_shares(octets: int, messages: int, expected: int) -> None:
    """To the octet."""
    assert share_told(Usage(octets, messages), 1000, 10) == expected
    assert share_told(Usage(octets, messages), None, None) == 0

"""Filters: all are asked, the strictest wins, their faults lose no mail."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailsvc.background import Background
from mailsvc.errors import ConfigError
from mailsvc.filters.chain import FilterChain
from mailsvc.filters.loops import RefuseLoops
from mailsvc.interfaces import IFilter, IFilterMaker, Incoming
from mailsvc.model.envelope import Body, Client, Envelope
from mailsvc.model.headers import Headers
from mailsvc.model.status import Status
from mailsvc.model.verdict import PASS, Decision, Verdict, reject, tempfail
from mailsvc.plugins import builtin
from mailsvc.service.chain import build_chain


def incoming(header: bytes = b"") -> Incoming:
    """Make a message with a header section."""
    envelope = Envelope(
        client=Client("127.0.0.1", 1),
        helo="a",
        protocol="ESMTP",
        login=None,
        sender=None,
        recipients=(),
        body=Body.SEVENBIT,
        received=datetime.now(UTC),
    )
    content: Any = None
    return Incoming(envelope, Headers(header + b"\r\n"), content)


@implementer(IFilter)
@dataclass
class Says:
    """Always says the same, and counts how often it was asked."""

    verdict: Verdict | Exception
    asked: int = 0

    async def judge(self, mail: Incoming) -> Verdict:
        """Say it."""
        del mail
        self.asked += 1
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def verdict_of(*filters: Says) -> Verdict:
    """Ask a chain."""
    chain = FilterChain({str(number): one for number, one in enumerate(filters)}, Clock())
    found: list[Verdict] = []
    _ = Deferred.fromCoroutine(chain.judge(incoming())).addCallback(found.append)
    return found[0]


NO = reject(Status(5, 7, 1), "no")
LATER = tempfail(Status(4, 7, 1), "later")


def test_the_strictest_verdict_wins() -> None:
    """Whatever the order, and no filter hides another."""
    filters = (Says(NO), Says(PASS), Says(LATER))

    assert verdict_of(*filters) == NO
    assert verdict_of(*reversed(filters)) == NO
    assert verdict_of(Says(PASS), Says(LATER)) == LATER
    assert verdict_of() == PASS
    assert [one.asked for one in filters] == [2, 2, 2]


def test_a_broken_filter_asks_to_try_again() -> None:
    """Its bug is no reason to lose mail, nor to let mail in unseen."""
    verdict = verdict_of(Says(RuntimeError("a bug")), Says(PASS))

    assert verdict.decision is Decision.TEMPFAIL
    assert "bug" not in verdict.reason


def test_a_filter_that_never_answers_is_given_up() -> None:
    """It must not hold a session and its message for ever."""

    @implementer(IFilter)
    class Sleeps:
        async def judge(self, mail: Incoming) -> Verdict:
            del mail
            return await Deferred()

    clock = Clock()
    found: list[Verdict] = []
    chain = FilterChain({"sleeps": Sleeps(), "no": Says(LATER)}, clock)
    _ = Deferred.fromCoroutine(chain.judge(incoming())).addCallback(found.append)

    clock.advance(59)
    assert found == []
    clock.advance(2)

    assert found[0].decision is Decision.TEMPFAIL


@implementer(IFilter)
class Ponders:
    """Says what it is told to say, later."""

    def __init__(self) -> None:
        self.answer: Deferred[Verdict] = Deferred()
        self.cancelled = False

    async def judge(self, mail: Incoming) -> Verdict:
        """Wait for it."""
        del mail
        try:
            return await self.answer
        except CancelledError:
            self.cancelled = True
            raise


@pytest.mark.parametrize(
    ("answer", "decision"), [(NO, Decision.REJECT), (KeyError("bug"), Decision.TEMPFAIL)]
)
def test_a_filter_that_ponders_is_waited_for(
    answer: Verdict | Exception, decision: Decision
) -> None:
    """Its verdict counts as that of the others, and its fault, too."""
    ponders, clock = Ponders(), Clock()
    found: list[Verdict] = []
    chain = FilterChain({"passes": Says(PASS), "ponders": ponders, "later": Says(PASS)}, clock)
    _ = Deferred.fromCoroutine(chain.judge(incoming())).addCallback(found.append)
    assert found == []

    if isinstance(answer, Exception):
        ponders.answer.errback(answer)
    else:
        ponders.answer.callback(answer)

    assert [one.decision for one in found] == [decision]
    assert not clock.getDelayedCalls()


def test_a_session_that_is_cancelled_waits_for_no_filter() -> None:
    """The filter hears of it, and no other one is asked."""
    ponders, later, background, clock = Ponders(), Says(PASS), Background(), Clock()
    chain = FilterChain({"ponders": ponders, "later": later}, clock)
    background.start(chain.judge(incoming()), "a session")

    background.cancel()

    assert ponders.cancelled
    assert later.asked == 0
    assert len(background) == 0
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize(("hops", "decision"), [(3, Decision.PASS), (4, Decision.REJECT)])
def test_mail_that_goes_in_a_circle_is_refused(hops: int, decision: Decision) -> None:
    """RFC 5321 section 6.3."""
    found: list[Verdict] = []
    mail = incoming(b"Received: x\r\n" * hops)
    _ = Deferred.fromCoroutine(RefuseLoops(most_hops=3).judge(mail)).addCallback(found.append)

    assert found[0].decision is decision


def test_the_built_in_filters_are_found() -> None:
    """By ``twisted.plugin``, and with their options."""
    chain = build_chain({"loops": {"most_hops": 7}}, Clock())

    assert chain.filters == {"loops": RefuseLoops(most_hops=7)}
    assert verifyObject(IFilter, chain.filters["loops"])
    assert verifyObject(IFilterMaker, builtin.loops)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"lops": {}}, "filters.lops: there is no such filter; there are: loops"),
        ({"loops": {"hops": 1}}, "filters.loops.hops: there is no such option; the options are:"),
        ({"loops": {"most_hops": "many"}}, "filters.loops.most_hops: 'many'"),
    ],
)
def test_mistakes_in_filters_are_told(wanted: dict[str, Any], said: str) -> None:
    """Before the service starts."""
    with pytest.raises(ConfigError) as caught:
        build_chain(wanted, Clock())

    assert str(caught.value).startswith(said)

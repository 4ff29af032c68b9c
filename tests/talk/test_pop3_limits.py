"""How many POP3 connections one client may have."""

from dataclasses import replace

from mailsvc.config.settings import LimitSettings, Settings
from mailsvc.config.units import Rate
from tests.support.pop3_talk import PostOffice, faults, logs

STRANGER = "192.0.2.7"


def office(limits: LimitSettings) -> PostOffice:
    """Open a post office with limits."""
    return PostOffice(replace(Settings(), limits=limits))


def test_a_client_with_too_many_connections_is_sent_away() -> None:
    """It hears that this passes; others are served."""
    place = office(LimitSettings(client_connections=1))
    place.connect(STRANGER).hears(b"+OK")

    with logs() as heard:
        refused = place.connect(STRANGER).hears(b"-ERR [SYS/TEMP] too many connections from your")

    refused.hears_nothing().is_hung_up_on()
    assert not faults(heard)
    place.connect("192.0.2.8").hears(b"+OK")


def test_a_connection_that_ends_makes_room() -> None:
    """After QUIT, when the client has read all, and after a lost line."""
    place = office(LimitSettings(client_connections=1))
    first = place.connect(STRANGER).hears(b"+OK").says(b"QUIT").hears(b"+OK")
    place.connect(STRANGER).hears(b"-ERR [SYS/TEMP] too many connections").loses_its_line()
    first.is_hung_up_on().loses_its_line()
    place.connect(STRANGER).hears(b"+OK").loses_its_line()

    place.connect(STRANGER).hears(b"+OK")


def test_new_connections_have_a_rate() -> None:
    """A mail program that looks every second must slow down."""
    place = office(LimitSettings(client_connection_rate=Rate(1, 60.0)))
    place.connect(STRANGER).hears(b"+OK").loses_its_line()
    place.connect(STRANGER).hears(b"-ERR [SYS/TEMP]").is_hung_up_on()

    place.clock.advance(60)

    place.connect(STRANGER).hears(b"+OK")


def test_exempt_networks_have_no_limit() -> None:
    """A webmail server of ours may come as often as it wants."""
    place = office(LimitSettings(client_connections=1))
    place.connect().hears(b"+OK")

    place.connect().hears(b"+OK")

"""What strangers say can be read and stored, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from mailsvc.model.ids import IdSource
from mailsvc.model.legible import legible, shown
from mailsvc.store.engine import Engines
from mailsvc.store.schema import transact
from mailsvc.store.stories import write_stories
from mailsvc.store.tables import trail

STRANGE = b"a\0b\r\n\x1b[2J\xff\xc3 \xe2\x80\xae \xf0\x9f\x90\xa7 \xc2\x85 \xed\xa0\x80 end"


@given(st.binary())
def test_any_octets_become_one_line_of_text(octets: bytes) -> None:
    """That every terminal and every database takes."""
    text = legible(octets)

    assert text.isprintable()
    assert "\0" not in text
    assert text.encode("utf-8").decode("utf-8") == text


@given(st.text())
def test_what_can_be_shown_stays(text: str) -> None:
    """In every script."""
    if text.isprintable():
        assert legible(text.encode()) == shown(text) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"alice@test.com", "alice@test.com"),
        ("用户 ü 🐧".encode(), "用户 ü 🐧"),
        (b"a\0b", r"a\x00b"),
        (b"\xff", r"\xff"),
        (b"1\r\n2\t3", r"1\r\n2\t3"),
        ("\u202e".encode(), r"\u202e"),
    ],
)
def test_the_rest_is_escaped(octets: bytes, text: str) -> None:
    """As Python writes it."""
    assert legible(octets) == text


def test_every_database_takes_it(engines: Engines) -> None:
    """PostgreSQL has no NUL: one row with it would keep out all that come after it."""
    number, text = IdSource().next(), legible(STRANGE)
    row = (number, "login failed", "192.0.2.7", None, text, text, None, None, "5.7.8", text)

    transact(engines, write_stories, (row,))

    with engines.read.connect() as connection:
        found = connection.execute(select(trail).where(trail.c.id == number)).one()
    assert (found.sender, found.recipient, found.detail) == (text, text, text)

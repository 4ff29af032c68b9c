"""Signatures that another program finds good."""

from datetime import UTC, datetime

import dkim  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.delivery.dkim import BodyHash, make_key, public_record, sign
from mailsvc.model.dkim import Algorithm, SigningKey
from mailsvc.store.delivery import WholeContent

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEYS = {one: SigningKey("test.com", f"s{one}", one, make_key(one)) for one in Algorithm}


def _lookup(name: bytes, timeout: int = 5) -> bytes:
    del timeout
    key = next(one for one in KEYS.values() if name.startswith(one.selector.encode()))
    return public_record(key).encode()


def _signed(content: bytes, added: bytes = b"", key: SigningKey | None = None) -> bytes:
    keys = [key] if key else list(KEYS.values())
    return sign(keys, added, WholeContent(content), NOW) + added + content


def _is_good(message: bytes) -> bool:
    checker = dkim.DKIM(message)
    count = message.count(b"DKIM-Signature:")
    try:
        return count > 0 and all(checker.verify(one, dnsfunc=_lookup) for one in range(count))
    except dkim.ValidationError:
        return False


MESSAGES = [
    b"From: a@test.com\r\nTo: b@far.example\r\nSubject: x\r\n\r\nhello\r\n",
    b"From: a@test.com\r\nSubject:  folded \r\n\t  line  \r\n\r\n  text \t here  \r\n\r\n\r\n",
    b"From: a@test.com\r\nSubject: one\r\nSubject: two\r\n\r\n",
    b"From: a@test.com\r\n\r\n\r\n\r\nbehind empty lines\r\n",
    "From: ä <a@test.com>\r\nSubject: 你好\r\n\r\n你好 \r\n".encode(),
    b"From: a@test.com\r\nX: " + b"y" * 500 + b"\r\n\r\n" + b"line  of text\r\n" * 30_000,
]


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("content", MESSAGES, ids=range(len(MESSAGES)))
def test_another_program_finds_it_good(algorithm: Algorithm, content: bytes) -> None:
    """Both algorithms, all that the canonical form must bear."""
    signed = _signed(content, key=KEYS[algorithm])

    assert _is_good(signed)
    assert max(map(len, signed.partition(b"From:")[0].split(b"\r\n"))) <= 80


def test_fields_that_we_add_are_signed() -> None:
    """They stand between the signature and the content; content without a header, too."""
    added = b"From: a@test.com\r\nDate: Tue, 24 Nov 2026 00:00:00 +0000\r\n"
    assert _is_good(_signed(b"Subject: x\r\n\r\nhello\r\n", added))
    assert _is_good(_signed(b"no header at all\r\n", added + b"\r\n"))


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"hello", b"HELLO"), (b"Subject: x", b"Subject: y"), (b"From: a@", b"From: b@")],
)
def test_what_is_changed_is_found(old: bytes, new: bytes) -> None:
    """In body and header."""
    signed = _signed(MESSAGES[0], key=KEYS[Algorithm.RSA])
    head, mark, rest = signed.rpartition(old)

    assert not _is_good(head + new + rest)
    assert mark


def test_nobody_adds_another_author() -> None:
    """From: is signed once more than it is there; RFC 6376 section 8.15."""
    signed = _signed(MESSAGES[0], key=KEYS[Algorithm.RSA])
    assert not _is_good(b"Subject: other\r\n" + signed)
    assert b"h=from:to:subject:from:" in signed


lines = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"text", b"  \r\n"]), max_size=30)


@given(lines, st.integers(1, 9))
def test_any_split_of_a_body_has_one_digest(parts: list[bytes], step: int) -> None:
    """And it is that of another program."""
    body = b"".join(parts)
    split = BodyHash()
    for start in range(0, len(body), step):
        split.feed(body[start : start + step])
    whole = BodyHash()
    whole.feed(body)

    assert split.finish() == whole.finish()
    content = b"From: a@test.com\r\n\r\n" + body
    if body.endswith(b"\r\n") or not body:
        assert _is_good(_signed(content, key=KEYS[Algorithm.ED25519]))

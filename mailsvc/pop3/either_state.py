"""The commands of both states: CAPA and LANG."""

from math import ceil

from mailsvc.pop3.languages import DEFAULT, LANGUAGES, find_language
from mailsvc.pop3.replies import NO_SUCH_LANGUAGE, Reply, ok, ok_lines
from mailsvc.pop3.session import Session

_ALWAYS = (
    b"TOP\r\n",
    b"UIDL\r\n",
    b"RESP-CODES\r\n",  # RFC 2449 section 6.4
    b"AUTH-RESP-CODE\r\n",  # RFC 3206 section 6
    b"PIPELINING\r\n",  # RFC 2449 section 6.6
    b"LANG\r\n",  # RFC 6856 section 3
    b"IMPLEMENTATION mailsvc\r\n",
)


async def capa(session: Session, argument: bytes) -> Reply:
    """Tell what this connection can do now; RFC 2449 section 5."""
    del argument
    lines = [
        *_ways_in(session),
        *_ALWAYS,
        _utf8(session),
        await _expire(session),
        _login_delay(session),
    ]
    return ok_lines(b"this is what I can do", lines)


def lang(session: Session, argument: bytes) -> Reply:
    """Choose what people are told things in, or list what there is; RFC 6856 section 3."""
    if not argument:
        lines = [f"{one.tag} {one.name}\r\n".encode() for one in (*LANGUAGES, DEFAULT)]
        return ok_lines(b"these are the languages", lines)
    chosen = find_language(argument.decode("ascii", "replace"))
    if chosen is None:
        return NO_SUCH_LANGUAGE
    session.language = chosen
    return ok(f"{chosen.tag} {chosen.chosen}".encode())


def _ways_in(session: Session) -> list[bytes]:
    """
    Name what leads to a login; RFC 2449 sections 6.2 and 6.3, RFC 2595 section 4.

    USER and SASL are told in both states alike, as RFC 2449 has it.
    """
    lines = [b"STLS\r\n"] if session.offers_stls else []
    if session.may_log_in:
        lines += [b"USER\r\n", b"SASL %b\r\n" % b" ".join(session.mechanisms)]
    return lines


def _utf8(session: Session) -> bytes:
    """Tell of UTF-8 in headers, and in names and passwords; RFC 6856 section 2.1."""
    return b"UTF8 USER\r\n" if session.may_log_in else b"UTF8\r\n"


async def _expire(session: Session) -> bytes:
    """Tell how long mail stays: before a login the least of all users; RFC 2449 section 6.7."""
    if session.open_maildrop is not None:
        days, whose = session.open_maildrop.account.keep_days, b""
    else:
        days, whose = await session.shortest_keep(), b" USER"
    return b"EXPIRE NEVER\r\n" if days is None else b"EXPIRE %d%b\r\n" % (days, whose)


def _login_delay(session: Session) -> bytes:
    """Tell how soon users may come back; RFC 2449 section 6.5."""
    # Rounded up: who believes us must not come too soon.
    return b"LOGIN-DELAY %d\r\n" % ceil(session.settings.pop3.login_delay)

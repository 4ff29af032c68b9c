"""Lists of mailboxes in the header fields From: and Sender:; RFC 5322 section 3.4, RFC 6532."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from mailsvc.model.address import Address, BadAddress, parse_address

MOST_MAILBOXES = 100
"""In one field; nobody writes with more hands."""
LONGEST_LIST = 32 * 1024
"""Characters; nobody else gets a turn while they are read."""
_LONGEST_REMEMBERED = 400
"""Characters; people send with the same From: all day."""

_TOKEN = re.compile(
    r"(?P<space>[ \t]+)"
    r'|(?P<quoted>"(?:[^"\\]|\\.)*")'
    r"|(?P<literal>\[[^\[\]\\]*\])"
    # Dots belong to a word: "John Q. Public" has one without quotes; RFC 5322 section 4.1.
    r'|(?P<word>[^\x00-\x20\x7f()<>\[\]:;@\\,"]+)'
    r"|(?P<special>[<>@,:;])"
)
_IN_COMMENT = re.compile(r"[^()\\]+|\\.|[()]")
_WORDS = re.compile(r'[^\x00-\x20\x7f()<>\[\]:;@\\,"]+(?: [^\x00-\x20\x7f()<>\[\]:;@\\,"]+)*')
_NO_ADDRESS = "there is no address of the form local@domain in it"
_PAIR = re.compile(r"\\(.)")


class BadMailboxes(ValueError):
    """The text is no list of mailboxes; the message says why and is safe to show."""


class Mailbox(NamedTuple):
    """
    One mailbox as people see it.

    Args:
        name: The display name without quotes, encoded words (RFC 2047) as they are; may
            be empty.
    """

    name: str
    address: Address

    def __str__(self) -> str:
        """Write it for a header field, quoted where it must be."""
        if not self.name:
            return str(self.address)
        return f"{quoted_name(self.name)} <{self.address}>"


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def meaning(self) -> str:
        """Its text without quotes."""
        return _PAIR.sub(r"\1", self.text[1:-1]) if self.kind == "quoted" else self.text


def quoted_name(name: str) -> str:
    """Write a display name, quoted where it must be; RFC 5322 section 3.2.5."""
    if _WORDS.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_mailboxes(text: str) -> tuple[Mailbox, ...]:
    """
    Read a list of mailboxes.

    Groups are refused: nobody could be held responsible for what they name.

    Args:
        text: The value of the field, unfolded.

    Returns:
        One at least.

    Raises:
        BadMailboxes: *text* is no such list, or a too long one; the message says why.
    """
    if len(text) > LONGEST_LIST:
        raise BadMailboxes("there are too many addresses in it, or it is too long")
    return _parse_again(text) if len(text) <= _LONGEST_REMEMBERED else _parse(text)


def _parse(text: str) -> tuple[Mailbox, ...]:
    found: list[Mailbox] = []
    waiting: list[_Token] = []
    for token in _tokens(text):
        if token.text != ",":
            waiting.append(token)
        elif waiting:  # Empty elements are allowed; RFC 5322 section 4.4.
            found.append(_mailbox(waiting))
            waiting = []
    if waiting:
        found.append(_mailbox(waiting))
    if not 0 < len(found) <= MOST_MAILBOXES:
        raise BadMailboxes("there are too many addresses in it" if found else _NO_ADDRESS)
    return tuple(found)


_parse_again = lru_cache(maxsize=2048)(_parse)


def _tokens(text: str) -> Iterator[_Token]:
    """Take a text apart; white space and comments only part words."""
    at = 0
    while at < len(text):
        if text[at] == "(":
            at = _after_comment(text, at)
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadMailboxes("it holds a character that is not allowed there")
        at = match.end()
        if match.lastgroup and match.lastgroup != "space":
            yield _Token(match.lastgroup, match.group())


def _after_comment(text: str, start: int) -> int:
    """Find the end of a comment; comments may hold comments."""
    depth = 0
    for match in _IN_COMMENT.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(match.group(), 0)
        if depth == 0:
            return match.end()
    raise BadMailboxes("a comment is not closed")


def _mailbox(tokens: list[_Token]) -> Mailbox:
    """Read one mailbox: an address, or a name and an address in angle brackets."""
    texts = [token.text for token in tokens]
    if ":" in texts or ";" in texts:
        raise BadMailboxes("groups of addresses are not allowed there")
    if "<" not in texts:
        return Mailbox("", _address(tokens))
    start = texts.index("<")
    if texts[-1] != ">":
        raise BadMailboxes("an angle bracket is not closed, or something follows it")
    name = tokens[:start]
    if any(token.kind not in {"word", "quoted"} for token in name):
        raise BadMailboxes("a display name with special characters needs quotes")
    words = " ".join(token.meaning for token in name)
    return Mailbox(words, _address(tokens[start + 1 : -1]))


def _address(tokens: list[_Token]) -> Address:
    """Read ``local@domain``; what is inside the brackets, or the whole mailbox."""
    kinds = [token.kind for token in tokens]
    if len(tokens) != 3 or kinds[1] != "special" or tokens[1].text != "@":  # noqa: PLR2004 - local, @, domain
        raise BadMailboxes(_NO_ADDRESS)
    if kinds[0] not in {"word", "quoted"} or kinds[2] not in {"word", "literal"}:
        raise BadMailboxes(_NO_ADDRESS)
    try:
        return parse_address("".join(token.text for token in tokens), utf8=True)
    except BadAddress as error:
        raise BadMailboxes(str(error)) from None

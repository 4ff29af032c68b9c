"""How commands are written; RFC 5321 section 4.1."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from mailsvc.errors import BadMailbox, MailError
from mailsvc.model.address import Address, BadAddress, parse_address, parse_domain
from mailsvc.model.status import Status

_PATH = re.compile(r'<((?:[^<>"\\]|"(?:[^"\\]|\\.)*")*)>')
_SOURCE_ROUTE = re.compile(r"\A@[A-Za-z0-9.\-\[\]:]+(?:,@[A-Za-z0-9.\-\[\]:]+)*:")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\U0010ffff]+))?")
_LONGEST_REMEMBERED = 256
"""Octets of an argument that is remembered: real ones are short, an attacker's are not."""
_HELO_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")


class BadSyntax(MailError):
    """The command is not written as it should be; RFC 3463 section 3.6."""

    status = Status(5, 5, 4)
    text = "That is not how this command is written"


class PathArgument(NamedTuple):
    """
    The argument of MAIL or RCPT.

    Args:
        path: What stands between the angle brackets, without a source route.
        parameters: By upper-case keyword; None: the keyword has no value.
    """

    path: str
    parameters: Mapping[str, str | None]


def split_command(line: bytes) -> tuple[bytes, bytes]:
    """Divide a line into upper-case verb and argument; white space at the end is ignored."""
    verb, _, argument = line.rstrip(b" \t").partition(b" ")
    return verb.upper(), argument


def parse_path_argument(argument: bytes, keyword: str) -> PathArgument:
    """
    Read ``FROM:<path> parameters`` or ``TO:<path> parameters``; RFC 5321 section 4.1.2.

    A source route is read and dropped, as appendix C asks.

    Args:
        keyword: ``FROM:`` or ``TO:``.

    Raises:
        BadSyntax: It is not written so, a parameter stands there twice, or it is not UTF-8.
    """
    if len(argument) > _LONGEST_REMEMBERED:
        return _parse_path_argument(argument, keyword)
    return _remembered_path_argument(argument, keyword)


def _parse_path_argument(argument: bytes, keyword: str) -> PathArgument:
    try:
        text = argument.decode()
    except UnicodeDecodeError:
        raise BadSyntax from None
    if text[: len(keyword)].upper() != keyword:
        raise BadSyntax
    path = _PATH.match(text := text[len(keyword) :].lstrip(" "))
    if path is None:
        raise BadSyntax
    parameters: dict[str, str | None] = {}
    for word in text[path.end() :].split():
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None or parameter.group(1).upper() in parameters:
            raise BadSyntax
        parameters[parameter.group(1).upper()] = parameter.group(2)
    if len(text) > path.end() and text[path.end()] != " ":
        raise BadSyntax
    return PathArgument(_SOURCE_ROUTE.sub("", path.group(1), count=1), parameters)


_remembered_path_argument = lru_cache(maxsize=4096)(_parse_path_argument)


def parse_reverse_path(path: str, *, utf8: bool = False) -> Address | None:
    """
    Read the path of MAIL; the empty one is the null path.

    Args:
        utf8: Allow the characters of RFC 6531 section 3.3.

    Raises:
        BadMailbox: It is no address; the text says why.
    """
    return None if not path else _parse_mailbox(path, utf8=utf8)


def parse_forward_path(path: str, home: str | None, *, utf8: bool = False) -> Address:
    """
    Read the path of RCPT.

    Args:
        home: Whose postmaster ``<Postmaster>`` is; RFC 5321 section 4.1.1.3.
        utf8: Allow the characters of RFC 6531 section 3.3.

    Raises:
        BadMailbox: It is no address; the text says why.
    """
    if home is not None and path.lower() == "postmaster":
        return Address(path, home)
    return _parse_mailbox(path, utf8=utf8)


def _parse_mailbox(path: str, *, utf8: bool) -> Address:
    try:
        return parse_address(path, utf8=utf8)
    except BadAddress as error:
        raise BadMailbox(f"That is not a mail address: {error}") from None


def parse_helo(argument: bytes) -> str | None:
    """
    Read the argument of HELO or EHLO; RFC 5321 section 4.1.1.1.

    Deviates from RFC 5321 section 4.1.2: a name may have underscores, as machines in real
    networks do. Nothing else gets through, for it goes into a header field.

    Returns:
        None: It is neither name nor address literal.
    """
    text = argument.decode("ascii", "replace")
    if _HELO_NAME.fullmatch(text):
        return text
    try:
        return parse_domain(text) if text.startswith("[") else None
    except BadAddress:
        return None

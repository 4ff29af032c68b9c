"""Mail addresses; RFC 5321 section 4.1.2, with RFC 6531 section 3.3 where asked for."""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

import idna

LONGEST_LOCAL_PART = 64
"""Octets; RFC 5321 section 4.5.3.1.1."""
LONGEST_DOMAIN = 255
"""Octets; RFC 5321 section 4.5.3.1.2."""

_LONGEST_MAILBOX = 2 * LONGEST_LOCAL_PART + 3 + LONGEST_DOMAIN
"""Characters: every one of the local part may have a backslash, and there are two quotes."""

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_DOT_STRING = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
_DOT_STRING_UTF8 = re.compile(rf"[{_ATEXT}\x80-\U0010ffff]+(?:\.[{_ATEXT}\x80-\U0010ffff]+)*")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"')
_QUOTED_UTF8 = re.compile(r'"((?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*)"')
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


class BadAddress(ValueError):
    """The text is no mail address; the message says why and is safe to show."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """
    One mailbox.

    Args:
        local: The local part without quotes, in the spelling of its writer.
        domain: Lower case; A-labels (RFC 5890), or a literal such as ``[192.0.2.1]``.
    """

    local: str
    domain: str
    _text: str = field(init=False, repr=False, compare=False)
    """Made once, for it is written often."""

    def __post_init__(self) -> None:
        """Write it."""
        object.__setattr__(self, "_text", self._written())

    def __str__(self) -> str:
        """Write it as in a path, quoted where it must be."""
        return self._text

    def _written(self) -> str:
        if _DOT_STRING_UTF8.fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        quoted = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"@{self.domain}'

    @property
    def shown(self) -> str:
        """As its owner writes it: the domain in its own script; RFC 5890 section 2.3.2.1."""
        if "xn--" not in self.domain:
            return str(self)
        return f"{str(self).rpartition('@')[0]}@{shown_domain(self.domain)}"

    @property
    def key(self) -> str:
        """
        The form under which accounts are found.

        Local parts differ in case by RFC 5321 section 2.4, yet no user of ours expects
        that: here they are the same mailbox.
        """
        return f"{unicodedata.normalize('NFC', self.local).casefold()}@{self.domain}"

    @property
    def ascii(self) -> bool:
        """Whether it can be sent without SMTPUTF8; RFC 6531."""
        return self.local.isascii()


def shown_domain(name: str) -> str:
    """Write a domain in its own script; RFC 5890 section 2.3.2.1."""
    try:
        return idna.decode(name) if "xn--" in name else name
    except idna.IDNAError:
        return name


def parse_address(text: str, *, utf8: bool = False) -> Address:
    """
    Read a ``Mailbox``: local part, ``@``, domain or address literal; RFC 5321 section 4.1.2.

    Args:
        text: What stands between ``<`` and ``>``, without a source route.
        utf8: Allow the characters of RFC 6531 section 3.3.

    Raises:
        BadAddress: *text* is no mailbox; the message says why.
    """
    if len(text) > _LONGEST_MAILBOX:
        raise BadAddress("it is longer than any address")
    return _parse_address(text, utf8=utf8)


@lru_cache(maxsize=8192)
def _parse_address(text: str, *, utf8: bool) -> Address:
    if text.startswith('"'):
        quoted = (_QUOTED_UTF8 if utf8 else _QUOTED).match(text)
        if quoted is None:
            raise BadAddress("the quoted local part is not closed or holds a control character")
        local, rest = re.sub(r"\\(.)", r"\1", quoted.group(1)), text[quoted.end() :]
        if not rest.startswith("@"):
            raise BadAddress("there is no @ behind the quoted local part")
        domain = rest[1:]
    else:
        local, at, domain = text.partition("@")
        if not at:
            raise BadAddress("there is no @ in it")
        if not (_DOT_STRING_UTF8 if utf8 else _DOT_STRING).fullmatch(local):
            raise BadAddress("the local part holds a character that is not allowed there")
    if len(local.encode()) > LONGEST_LOCAL_PART:
        raise BadAddress(f"the local part is longer than {LONGEST_LOCAL_PART} octets")
    return Address(local, parse_domain(domain, utf8=utf8))


def parse_domain(text: str, *, utf8: bool = False) -> str:
    """
    Read a domain name or an address literal and write it in its one normal form.

    Args:
        text: ``example.com``, ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``.
        utf8: Allow U-labels; RFC 5890.

    Raises:
        BadAddress: *text* is neither.
    """
    if len(text) > LONGEST_DOMAIN:
        raise BadAddress(f"the domain is longer than {LONGEST_DOMAIN} octets")
    return _parse_domain(text, utf8=utf8)


@lru_cache(maxsize=8192)
def _parse_domain(text: str, *, utf8: bool) -> str:
    if text.startswith("["):
        return _parse_literal(text)
    if utf8 and not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise BadAddress("the domain is not an internationalised name") from None
    if len(text) > LONGEST_DOMAIN:
        raise BadAddress(f"the domain is longer than {LONGEST_DOMAIN} octets")
    if not _DOMAIN.fullmatch(text):
        raise BadAddress("the domain is not a host name")
    return text.lower()


def _parse_literal(text: str) -> str:
    """Read an address literal; RFC 5321 section 4.1.3."""
    inner = text[1:-1]
    if not text.endswith("]") or not inner.isascii():
        raise BadAddress("the address literal is not closed")
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:]).compressed}]"
        if _IPV4.fullmatch(inner):
            return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise BadAddress("the address literal holds no IP address") from None
    raise BadAddress("the address literal holds no IP address")

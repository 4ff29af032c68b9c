"""
The PROXY protocol, versions 1 and 2: a proxy in front of us names the real client.

Pure: octets in, values out. https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from mailsvc.model.envelope import Client

LONGEST_LINE = 107
"""Octets of version 1, CRLF included; section 2.1."""
LONGEST_BLOCK = 4096
"""Octets of version 2; the rest of its 65,551 is room for TLVs that nobody sends."""

_START = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16
"""Octets in front of the addresses of version 2."""
_VERSION_2 = 2
_LOCAL, _PROXY = 0, 1
_TCP4, _TCP6 = 0x11, 0x21
_OTHERS = frozenset({0x00, 0x12, 0x22, 0x31, 0x32})
"""UNSPEC, datagrams and UNIX sockets: to be taken as UNSPEC; section 2.2."""
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_MOST_PORT = 65_535


class BadHeader(Exception):
    """This is no PROXY header; the text says why."""


class Header(NamedTuple):
    """
    One header.

    Args:
        client: The real client; None: who is connected to us is the client.
        octets: Its length; what stands behind it is the client's.
    """

    client: Client | None
    octets: int


def parse_header(octets: bytes) -> Header | None:
    """
    Read a header at the start of a connection.

    Args:
        octets: All that was received.

    Returns:
        The header; None: there must come more.

    Raises:
        BadHeader: No header begins so.
    """
    if octets.startswith(_START):
        return _parse_line(octets)
    if octets.startswith(_SIGNATURE):
        return _parse_block(octets)
    if _START.startswith(octets) or _SIGNATURE.startswith(octets):
        return None
    raise BadHeader("the connection does not begin with a PROXY header")


def _parse_line(octets: bytes) -> Header | None:
    """Read version 1; section 2.1."""
    end = octets.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(octets) >= LONGEST_LINE:
            raise BadHeader("the PROXY line is too long")
        return None
    words = octets[len(_START) : end].split(b" ")
    if words[0] == b"UNKNOWN":
        return Header(None, end + 2)
    kinds: dict[bytes, type[IPv4Address | IPv6Address]] = {
        b"TCP4": IPv4Address,
        b"TCP6": IPv6Address,
    }
    if words[0] not in kinds or len(words) != 5:  # noqa: PLR2004 - kind, two addresses, two ports
        raise BadHeader("the PROXY line is not how it is written")
    kind = kinds[words[0]]
    source, _ = _address(kind, words[1]), _address(kind, words[2])
    port, _ = _port(words[3]), _port(words[4])
    return Header(_client(source, port), end + 2)


def _address(kind: type[IPv4Address | IPv6Address], word: bytes) -> IPv4Address | IPv6Address:
    try:
        text = word.decode("ascii")
        address = kind(text)
    except ValueError:
        raise BadHeader("the PROXY line has a bad address") from None
    if "%" in text:
        raise BadHeader("the PROXY line has a bad address")
    return address


def _port(word: bytes) -> int:
    if not _PORT.fullmatch(word) or int(word) > _MOST_PORT:
        raise BadHeader("the PROXY line has a bad port")
    return int(word)


def _parse_block(octets: bytes) -> Header | None:
    """Read version 2; section 2.2. TLVs behind the addresses are skipped."""
    if len(octets) < _FIXED:
        return None
    version, command = divmod(octets[12], 16)
    if version != _VERSION_2 or command not in {_LOCAL, _PROXY}:
        raise BadHeader("the PROXY header has a version or a command that we do not know")
    end = _FIXED + int.from_bytes(octets[14:_FIXED], "big")
    if end > LONGEST_BLOCK:
        raise BadHeader("the PROXY header is too long")
    if len(octets) < end:
        return None
    # With LOCAL even the family is to be ignored: the proxy speaks for itself.
    client = None if command == _LOCAL else _source(octets[13], octets[_FIXED:end])
    return Header(client, end)


def _source(family: int, block: bytes) -> Client | None:
    if family in _OTHERS:
        return None
    if family not in {_TCP4, _TCP6}:
        raise BadHeader("the PROXY header has an address family that we do not know")
    kind, size = (IPv4Address, 4) if family == _TCP4 else (IPv6Address, 16)
    if len(block) < 2 * size + 4:
        raise BadHeader("the PROXY header is too short for its addresses")
    port = int.from_bytes(block[2 * size : 2 * size + 2], "big")
    return _client(kind(block[:size]), port)


def _client(address: IPv4Address | IPv6Address, port: int) -> Client:
    """Name the client; one that came by IPv4 over an IPv6 socket is what it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return Client(str(mapped or address), port)

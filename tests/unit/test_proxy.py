"""The PROXY protocol: who the client is behind a proxy."""

import contextlib
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.envelope import Client
from mailsvc.wire.proxy import LONGEST_BLOCK, LONGEST_LINE, BadHeader, Header, parse_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
REST = b"EHLO client.example\r\n"


def block(family: int, addresses: bytes, command: int = 0x21) -> bytes:
    """Write a header of version 2."""
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(addresses)) + addresses


def addresses(source: str, port: int) -> bytes:
    """Write the addresses of version 2, the proxy's own behind the client's."""
    packed = ip_address(source).packed
    return packed + bytes(len(packed)) + struct.pack("!HH", port, 25)


TCP4 = addresses("192.0.2.1", 56324)
TCP6 = addresses("2001:db8::1", 56324)
GOOD = {
    b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n": Client("192.0.2.1", 56324),
    b"PROXY TCP6 2001:DB8::1 2001:db8::2 56324 25\r\n": Client("2001:db8::1", 56324),
    b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n": Client("192.0.2.1", 1),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f...f:ffff what ever 65535\r\n": None,
    block(0x11, TCP4): Client("192.0.2.1", 56324),
    block(0x21, TCP6): Client("2001:db8::1", 56324),
    block(0x21, addresses("::ffff:192.0.2.1", 7)): Client("192.0.2.1", 7),
    block(0x11, TCP4 + b"\x04\x00\x03abc"): Client("192.0.2.1", 56324),
    block(0x11, TCP4, command=0x20): None,
    block(0x00, b"", command=0x20): None,
    block(0x77, b"?", command=0x20): None,
    block(0x00, b""): None,
    block(0x31, bytes(216)): None,
}
BAD = [
    REST,
    b"\r\n\r\nQUIT\r\n",
    b"proxy TCP4 192.0.2.1 198.51.100.1 56324 25\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
    b"PROXY TCP4 192.0.2.1  198.51.100.1 56324 25\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 \r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 25\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.1 56324 25\r\n",
    b"PROXY TCP4 mail.example 198.51.100.1 56324 25\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 056 25\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 25\r\n",
    b"PROXY TCP6 fe80::1%eth0 fe80::2 1 25\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.1 56324 25\r\n",
    b"PROXY " + b"x" * LONGEST_LINE,
    b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\n" + b" " * LONGEST_LINE,
    SIGNATURE + b"\x11\x11\x00\x0c" + TCP4,
    block(0x11, TCP4, command=0x22),
    block(0x12 + 0x40, TCP4),
    block(0x11, TCP4[:-1]),
    block(0x21, TCP4),
    SIGNATURE + b"\x21\x11" + struct.pack("!H", LONGEST_BLOCK),
]


def read(octets: bytes, cuts: list[int]) -> Header | str:
    """Read a header that comes in pieces; give it, or why there is none."""
    try:
        for cut in sorted(cuts):
            if (header := parse_header(octets[:cut])) is not None:
                return header
        return parse_header(octets) or "more"
    except BadHeader:
        return "bad"


@pytest.mark.parametrize(("octets", "client"), GOOD.items())
def test_a_header_names_the_client(octets: bytes, client: Client | None) -> None:
    """What stands behind it is left alone; None is whoever is connected to us."""
    assert parse_header(octets + REST) == Header(client, len(octets))


@pytest.mark.parametrize("octets", BAD)
def test_what_is_no_header_is_refused(octets: bytes) -> None:
    """A proxy that is set up wrongly must not lend its own address to its clients."""
    with pytest.raises(BadHeader):
        parse_header(octets)


@given(st.sampled_from([*GOOD, *BAD]), st.lists(st.integers(0, 300)))
def test_any_split_gives_the_same_header(octets: bytes, cuts: list[int]) -> None:
    """TCP cuts where it likes: HAProxyWrappingFactory fails on a short first segment."""
    assert read(octets, cuts) == read(octets, [])


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda tail: b"PROXY " + tail),
        st.binary(max_size=200).map(lambda tail: SIGNATURE + tail),
        st.binary(max_size=60).map(lambda tail: SIGNATURE + b"\x21\x11\x00\x0c" + tail),
    )
)
def test_no_octets_crash_the_reader(octets: bytes) -> None:
    """Whatever comes is a header, the start of one, or none."""
    with contextlib.suppress(BadHeader):
        header = parse_header(octets)
        if header is None:
            assert len(octets) < LONGEST_BLOCK
        else:
            assert header.octets <= len(octets)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_both_versions_say_the_same(address: object, port: int) -> None:
    """Every address and port comes through."""
    source = ip_address(str(address))
    four = source.version == 4
    line = f"PROXY TCP{source.version} {source} {source} {port} 25\r\n".encode()
    binary = block(0x11 if four else 0x21, addresses(str(source), port))

    by_line, by_block = parse_header(line), parse_header(binary)

    assert by_line is not None
    assert by_block is not None
    assert by_line.client == by_block.client
    assert by_line.client is not None
    assert by_line.client.port == port

"""SCRAM-SHA-256 without a server: messages, keys, proofs; RFC 5802, RFC 7677."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsvc.auth.saslprep import prepare, prepare_octets
from mailsvc.auth.scram import (
    ClientFinal,
    ScramKeys,
    ServerFirst,
    bound_to,
    fake_keys,
    make_keys,
    read_final,
    read_first,
    read_keys,
    write_keys,
)
from mailsvc.errors import BadResponse, ChannelBindingFailed
from tests.support.scram_client import ScramClient

SALT = bytes.fromhex("5b6d99689d12358eeca04b141236fa81")
PENCIL = make_keys(b"pencil", 4096, SALT)
EXPORTER = {"tls-exporter": b"exported", "tls-server-end-point": b"digest"}
OUR_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1)
nonces = st.text(st.sampled_from("!\"#$%&'()*+-./09:;<=>?@AZ[]^_`az{|}~"), min_size=1)
bindings = st.sampled_from([("n,,", b""), ("y,,", b""), ("p=tls-exporter,,", b"exported")])


def asked(client: ScramClient, keys: ScramKeys = PENCIL, nonce: str = OUR_NONCE) -> ServerFirst:
    """Take a client's first message."""
    first = read_first(client.first)
    return ServerFirst(first, keys, client.header.encode() + client.bound, nonce)


def test_the_example_of_the_rfc() -> None:
    """RFC 7677 section 3, octet for octet."""
    first = read_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    ours = ServerFirst(first, PENCIL, bound_to(first, {}, plus=False), OUR_NONCE)

    assert first.name == "user"
    assert ours.message == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    final = read_final(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert ours.answer(final) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@settings(max_examples=40, deadline=None)
@given(
    name=texts,
    password=st.binary(min_size=1),
    nonce=nonces,
    binding=bindings,
    salt=st.binary(min_size=1),
)
def test_whoever_knows_the_password_gets_in(
    name: str, password: bytes, nonce: str, binding: tuple[str, bytes], salt: bytes
) -> None:
    """Any name, password, nonce and binding; and the server proves itself."""
    header, bound = binding
    client = ScramClient(name, prepare_octets(password), nonce, header, bound)
    ours = asked(client, make_keys(password, 1, salt))

    assert ours.first.name == name
    answer = ours.answer(read_final(client.final(ours.message)))
    assert answer == client.server_final != b""


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 31), bit=st.integers(0, 7))
def test_one_wrong_bit_in_the_proof_is_a_wrong_proof(at: int, bit: int) -> None:
    """Nothing near the truth is good enough."""
    client = ScramClient("user", b"pencil")
    ours = asked(client)
    final = read_final(client.final(ours.message))
    proof = bytearray(final.proof)
    proof[at] ^= 1 << bit

    assert ours.answer(final._replace(proof=bytes(proof))) is None


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_proof_of_another_length_is_wrong(length: int) -> None:
    """It is no reason to fail."""
    client = ScramClient("user", b"pencil")
    ours = asked(client)
    final = read_final(client.final(ours.message))

    assert ours.answer(final._replace(proof=bytes(length))) is None


def test_what_was_said_cannot_be_changed() -> None:
    """The proof signs every message: name, nonces, salt, iterations, extensions."""
    client = ScramClient("user", b"pencil")
    ours = asked(client)
    final = read_final(client.final(ours.message))
    other = asked(ScramClient("other", b"pencil"))

    assert other.answer(final) is None
    assert ours.answer(final._replace(bare=final.bare + ",x=y")) is None
    assert asked(client, PENCIL._replace(iterations=5000)).answer(final) is None
    with pytest.raises(BadResponse):
        asked(client, nonce="another").answer(final)


def test_a_proof_is_bound_to_its_connection() -> None:
    """Somebody in the middle has another certificate; RFC 5802 section 6."""
    client = ScramClient("user", b"pencil", header="p=tls-exporter,,", bound=b"his")
    first = read_first(client.first)
    ours = ServerFirst(first, PENCIL, bound_to(first, EXPORTER, plus=True), OUR_NONCE)

    with pytest.raises(ChannelBindingFailed):
        ours.answer(read_final(client.final(ours.message)))


@pytest.mark.parametrize(
    ("header", "plus", "bindings"),
    [
        ("y,,", False, EXPORTER),  # it was told that we have no binding
        ("p=tls-exporter,,", False, EXPORTER),
        ("n,,", True, EXPORTER),
        ("y,,", True, EXPORTER),
        ("p=tls-unique,,", True, EXPORTER),
        ("p=tls-exporter,,", True, {}),
    ],
)
def test_a_downgrade_is_seen(header: str, plus: bool, bindings: dict[str, bytes]) -> None:  # noqa: FBT001
    """RFC 5802 section 6: what we offered is not what the client saw."""
    first = read_first(f"{header}n=user,r=abc".encode())

    with pytest.raises(ChannelBindingFailed):
        bound_to(first, bindings, plus=plus)


@pytest.mark.parametrize("kind", sorted(EXPORTER))
def test_both_kinds_of_binding_are_known(kind: str) -> None:
    """RFC 9266 and RFC 5929."""
    first = read_first(f"p={kind},,n=user,r=abc".encode())

    assert bound_to(first, EXPORTER, plus=True) == f"p={kind},,".encode() + EXPORTER[kind]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n=user,r=abc",
        b"n,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"p=,,n=user,r=abc",
        b"p=a b,,n=user,r=abc",
        b"n,user,n=user,r=abc",
        b"n,a=,n=user,r=abc",
        b"n,,n=,r=abc",
        b"n,,n=us=er,r=abc",
        b"n,,n=us\0er,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a c",
        b"n,,n=user",
        b"n,,r=abc,n=user",
        b"n,,m=x,n=user,r=abc",  # an extension that must be understood
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,xx=y",
        b"n,,n=\xff,r=abc",
        b"n,,n=user,r=abc\r\n",
    ],
)
def test_a_first_message_is_read_strictly(message: bytes) -> None:
    """RFC 5802 section 7."""
    with pytest.raises(BadResponse):
        read_first(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"c=biws,r=abc",
        b"c=biws,p=AA==",
        b"r=abc,c=biws,p=AA==",
        b"c=biws,r=abc,p=AA",
        b"c=biw,r=abc,p=AA==",
        b"c=biws,r=abc,p=A A==",
        b"c=biws,r=abc,p=AA==,x=y",
        b"c=biws,r=abc,p=AA==,p=AA==",
        b"c=biws,r=abc,p=AB==\n",
    ],
)
def test_a_last_message_is_read_strictly(message: bytes) -> None:
    """The same section."""
    with pytest.raises(BadResponse):
        read_final(message)


def test_a_name_may_have_commas_and_equals_signs() -> None:
    """They are written as =2C and =3D."""
    first = read_first(b"n,a=x=2Cy,n==3D2C=2C,r=abc,x=1=2")

    assert (first.authzid, first.name, first.header) == ("x,y", "=2C,", "n,a=x=2Cy,")


def test_an_extension_of_a_last_message_is_passed_over() -> None:
    """RFC 5802 section 7: unknown ones are ignored."""
    final = read_final(b"c=biws,r=abc,x=y,p=AA==")

    assert final == ClientFinal(b"n,,", "abc", b"\0", "c=biws,r=abc,x=y")


@given(st.binary(max_size=200))
def test_no_octets_crash_the_reader(octets: bytes) -> None:
    """They are read or refused."""
    for read in (read_first, read_final):
        with suppress(BadResponse):
            read(octets)


def test_keys_are_written_and_read_back() -> None:
    """RFC 5803, in the form that others use, too."""
    text = write_keys(PENCIL)

    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert read_keys(text) == PENCIL
    assert len(text) < 255


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SCRAM-SHA-1$4096:AA==$AA==:AA==",
        "SCRAM-SHA-256$4096:AA==$AA==:AA==",
        write_keys(PENCIL).replace("$4096", "$0"),
        write_keys(PENCIL).replace("W22Z", "W2Z"),
        write_keys(PENCIL) + " ",
    ],
)
def test_broken_keys_are_none(text: str) -> None:
    """A database that somebody has edited locks out one user, and nobody gets in by it."""
    assert read_keys(text) is None


def test_keys_of_nobody_are_always_the_same() -> None:
    """Asking twice must not tell that there is no such user."""
    one = fake_keys(b"nobody@test.com", 4096, b"secret")

    assert one == fake_keys(b"nobody@test.com", 4096, b"secret")
    assert one.salt != fake_keys(b"somebody@test.com", 4096, b"secret").salt
    assert one.salt != fake_keys(b"nobody@test.com", 4096, b"other").salt
    assert [len(part) for part in one[1:]] == [len(part) for part in PENCIL[1:]]


@pytest.mark.parametrize(
    ("written", "prepared"),
    [
        ("I\xadX", "IX"),  # the examples of RFC 4013 section 3
        ("user", "user"),
        ("USER", "USER"),
        ("\xaa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
    ],
)
def test_spellings_of_one_password(written: str, prepared: str) -> None:
    """RFC 4013: a password typed on another keyboard is the same password."""
    assert prepare(written) == prepared
    assert make_keys(written.encode(), 1, SALT) == make_keys(prepared.encode(), 1, SALT)


@pytest.mark.parametrize("written", ["\x07\u00e9", "\u0627\x31", "\u0627a\u0627", "\ue000"])
def test_what_cannot_be_prepared_is_taken_as_it_is(written: str) -> None:
    """A client cannot prepare it either; it may still send it."""
    with pytest.raises(ValueError, match=r"not allowed|directions"):
        prepare(written)

    assert prepare_octets(written.encode()) == written.encode()
    assert prepare_octets(b"\xff") == b"\xff"

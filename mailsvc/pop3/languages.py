"""What people are told things in; RFC 6856 section 3."""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

import yaml

from mailsvc.pop3.replies import Reply

_LONGEST = 512
"""Octets of the first line of a reply; RFC 2449 section 4."""
_NUMBER = re.compile(rb"[0-9]+")


class Language(NamedTuple):
    """
    One language.

    Args:
        tag: Its name; RFC 5646.
        name: What its speakers call it.
        chosen: What a client hears that has chosen it.
        texts: From our English texts, which may have ``{}`` where a number stands; those that
            are missing stay English.
    """

    tag: str
    name: str
    chosen: str
    texts: Mapping[bytes, bytes]


def _read(tag: str) -> Language:
    """Read the texts of a language from its file."""
    file = files("mailsvc.pop3") / "texts" / f"{tag}.yaml"
    read = yaml.safe_load(file.read_text(encoding="utf-8"))
    texts = {english.encode("ascii"): text.encode() for english, text in read["texts"].items()}
    return Language(tag, read["name"], read["chosen"], texts)


ENGLISH = Language("en", "English", "I speak English now", {})
LANGUAGES = (ENGLISH, _read("zh"))
DEFAULT = ENGLISH._replace(tag="i-default", name="English, for everybody")
"""What is spoken before a client has chosen; RFC 2277 section 4.5."""


def find_language(tag: str) -> Language | None:
    """
    Find the language that is best for a tag; RFC 4647 section 3.4, RFC 2277 section 4.5.

    Args:
        tag: As the client says it, such as ``zh-CN``; ``*``: ours.
    """
    wanted = tag.lower()
    if wanted == "*":
        return ENGLISH
    if wanted == DEFAULT.tag:
        return DEFAULT
    while wanted:
        for language in LANGUAGES:
            if language.tag == wanted:
                return language
        wanted = wanted.rpartition("-")[0]
    return None


def spoken(language: Language, reply: Reply) -> Reply:
    """Say a reply in a language, as far as we have words for it."""
    if not language.texts:
        return reply
    line, end, rest = reply.octets[:_LONGEST].partition(b"\r\n")
    indicator, code, text = _parts(line)
    words = _translated(language, text)
    if not end or words is None:
        return reply
    first = b" ".join(filter(None, (indicator, code, words)))
    return reply._replace(octets=first + end + rest + reply.octets[_LONGEST:])


def _translated(language: Language, text: bytes) -> bytes | None:
    """Look a text up, and with ``{}`` for each number when it is not there; None: no words."""
    words = language.texts.get(text)
    if words is not None:
        return words
    words = language.texts.get(_NUMBER.sub(b"{}", text))
    if words is not None:
        for number in _NUMBER.findall(text):
            words = words.replace(b"{}", number, 1)
    return words


def _parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a line into its indicator, its response code with brackets, and its text."""
    indicator, _, text = line.partition(b" ")
    if not text.startswith(b"["):
        return indicator, b"", text
    code, _, text = text.partition(b" ")
    return indicator, code, text

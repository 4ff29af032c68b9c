"""Tell owners of mailboxes what concerns them, in their language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import yaml

from mailsvc.delivery.submission import new_message_id
from mailsvc.delivery.trace import date
from mailsvc.model.address import Address
from mailsvc.model.quota import QuotaNotice
from mailsvc.model.sending import LimitNotice
from mailsvc.store.delivery import WholeContent

_LANGUAGES = ("en", "zh")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


@cache
def _texts(language: str) -> Mapping[str, str]:
    file = files("mailsvc.delivery") / "texts" / f"{language}.yaml"
    texts: Mapping[str, str] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return texts


@dataclass(frozen=True)
class NoticeWriter:
    """
    Writes notices in the name of a host; can go to another process.

    Args:
        hostname: Our name.
    """

    hostname: str

    def __call__(self, notice: QuotaNotice | LimitNotice) -> WholeContent:
        """Write one; safe on any thread."""
        return write_notice(self.hostname, notice)


def write_notice(hostname: str, notice: QuotaNotice | LimitNotice) -> WholeContent:
    """
    Write the message that tells of a mailbox that is nearly full, or of a limit.

    Safe on any thread.

    Args:
        hostname: Our name.
    """
    tag = notice.language.lower().partition("-")[0]
    language = tag if tag in _LANGUAGES else _LANGUAGES[0]
    texts = _texts(language)
    if isinstance(notice, LimitNotice):
        what = texts[f"limit_{notice.kind}"].format(most=notice.most)
        values = {"owner": notice.owner.shown, "what": what, "hostname": hostname}
        heads = _Heads(notice.to, language, texts["limit_subject"].format(**values))
        return _written(hostname, heads, texts["limit_body"].format(**values), datetime.now(UTC))
    return _written_of_quota(hostname, notice, language)


def _written_of_quota(hostname: str, notice: QuotaNotice, language: str) -> WholeContent:
    texts = _texts(language)
    values = {
        "owner": notice.owner.shown,
        "share": notice.share,
        "octets": _size(notice.usage.octets),
        "messages": notice.usage.messages,
        "quota_octets": _limit(texts, notice.quota_octets, _size),
        "quota_messages": _limit(texts, notice.quota_messages, str),
        "hostname": hostname,
    }
    heads = _Heads(notice.owner, language, texts["subject"].format(**values))
    return _written(hostname, heads, texts["body"].format(**values), notice.now)


class _Heads(NamedTuple):
    """What stands in the header of a notice."""

    to: Address
    language: str
    subject: str


def _written(hostname: str, heads: _Heads, body: str, now: datetime) -> WholeContent:
    header = _header(hostname, heads, now)
    return WholeContent(header + b"\r\n" + body.replace("\n", "\r\n").encode())


def _header(hostname: str, heads: _Heads, now: datetime) -> bytes:
    subject = heads.subject
    if not subject.isascii():
        subject = Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")
    return (
        f"Date: {date(now)}\r\n"
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>\r\n"
        f"To: <{heads.to}>\r\n"
        f"Subject: {subject}\r\n"
        f"Message-ID: {new_message_id(hostname)}\r\n"
        "Auto-Submitted: auto-generated\r\n"  # RFC 3834 section 5
        f"Content-Language: {heads.language}\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n"
    ).encode()


def _limit(texts: Mapping[str, str], most: int | None, write: Callable[[int], str]) -> str:
    return texts["no_limit"] if most is None else write(most)


def _size(octets: int) -> str:
    amount, unit = float(octets), 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{octets} B"

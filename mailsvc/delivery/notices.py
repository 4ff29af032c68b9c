"""Tell owners that their mailbox becomes full, in their language."""

from collections.abc import Callable, Mapping
from email.header import Header
from functools import cache
from importlib.resources import files

import yaml

from mailsvc.delivery.reports import WrittenContent
from mailsvc.delivery.submission import new_message_id
from mailsvc.delivery.trace import date
from mailsvc.model.quota import QuotaNotice

_LANGUAGES = ("en", "zh")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


@cache
def _texts(language: str) -> Mapping[str, str]:
    file = files("mailsvc.delivery") / "texts" / f"{language}.yaml"
    texts: Mapping[str, str] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return texts


def write_notice(hostname: str, notice: QuotaNotice) -> WrittenContent:
    """
    Write the message that an owner gets whose mailbox is nearly full.

    Safe on any thread.

    Args:
        hostname: Our name.
    """
    tag = notice.language.lower().partition("-")[0]
    language = tag if tag in _LANGUAGES else _LANGUAGES[0]
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
    subject = texts["subject"].format(**values)
    body = texts["body"].format(**values).replace("\n", "\r\n").encode()
    return WrittenContent(_header(hostname, notice, language, subject) + b"\r\n" + body)


def _header(hostname: str, notice: QuotaNotice, language: str, subject: str) -> bytes:
    if not subject.isascii():
        subject = Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")
    return (
        f"Date: {date(notice.now)}\r\n"
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>\r\n"
        f"To: <{notice.owner}>\r\n"
        f"Subject: {subject}\r\n"
        f"Message-ID: {new_message_id(hostname)}\r\n"
        "Auto-Submitted: auto-generated\r\n"  # RFC 3834 section 5
        f"Content-Language: {language}\r\n"
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

"""What POP3 answers; RFC 2449 section 8 and RFC 3206."""

import pytest

from mailsvc.errors import (
    LoginFailed,
    LoginForbidden,
    LoginTooSoon,
    MailboxDisabled,
    MaildropInUse,
    MailError,
    StorageFailed,
    StorageFull,
    TooBusy,
    TooManyFailures,
)
from mailsvc.pop3 import replies


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (MaildropInUse(), b"-ERR [IN-USE] "),
        (LoginFailed(), b"-ERR [AUTH] "),
        (LoginForbidden(), b"-ERR [AUTH] "),
        (LoginTooSoon(), b"-ERR [LOGIN-DELAY] "),
        (TooManyFailures(), b"-ERR [SYS/TEMP] "),
        (StorageFailed(), b"-ERR [SYS/TEMP] "),
        (StorageFull(), b"-ERR [SYS/TEMP] "),
        (TooBusy(), b"-ERR [SYS/TEMP] "),
        (MailboxDisabled(), b"-ERR [SYS/PERM] "),
    ],
)
def test_a_mail_program_can_tell_what_to_do(error: MailError, start: bytes) -> None:
    """It asks for the password only when the password is wrong, and tries again else."""
    reply = replies.refusal(error)

    assert reply.octets.startswith(start)
    assert reply.octets.endswith(b"\r\n")
    assert reply.failed


def test_no_text_is_outside_of_ascii() -> None:
    """RFC 1939 knows nothing else."""
    assert replies.refusal(MailError("für später")).octets == b"-ERR [SYS/TEMP] f?r sp?ter\r\n"


def test_every_fixed_reply_is_one_short_line() -> None:
    """RFC 1939 section 3 allows 512 octets."""
    fixed = [value for value in vars(replies).values() if isinstance(value, replies.Reply)]

    assert len(fixed) > 15
    for reply in fixed:
        assert reply.octets.startswith((b"+OK ", b"-ERR "))
        assert reply.octets.index(b"\r\n") == len(reply.octets) - 2 <= 510

"""RCPT; RFC 5321 section 4.1.1.3."""

from mailsvc.model.envelope import Recipient
from mailsvc.policy.relay import check_recipient
from mailsvc.smtp.grammar import BadSyntax, parse_forward_path, parse_path_argument
from mailsvc.smtp.replies import (
    BAD_ARGUMENT,
    RECIPIENT_OK,
    TOO_MANY_RECIPIENTS,
    UNKNOWN_PARAMETER,
    UTF8_ADDRESS,
    Reply,
)
from mailsvc.smtp.session import Session


async def rcpt(session: Session, argument: bytes) -> Reply:
    """Add a recipient; the same one twice is one recipient."""
    try:
        parsed = parse_path_argument(argument, "TO:")
    except BadSyntax:
        return BAD_ARGUMENT
    if not parsed.path.isascii():
        return UTF8_ADDRESS
    if parsed.parameters:
        return UNKNOWN_PARAMETER
    directory = session.house.directory
    address = parse_forward_path(parsed.path, await directory.home())
    if len(session.recipients) >= session.house.settings.most_recipients:
        return TOO_MANY_RECIPIENTS
    local = await directory.is_local(address.domain)
    found = await directory.find(address) if local else None
    account = check_recipient(found, local=local, login=session.login)
    session.recipients[address] = Recipient(address, account)
    return RECIPIENT_OK

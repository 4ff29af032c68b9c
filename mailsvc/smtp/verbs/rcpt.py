"""RCPT; RFC 5321 section 4.1.1.3."""

from mailsvc.delivery.recipients import find_recipient
from mailsvc.model.envelope import Recipient
from mailsvc.smtp.grammar import parse_forward_path, parse_path_argument
from mailsvc.smtp.parameters import read_rcpt_parameters
from mailsvc.smtp.replies import RECIPIENT_OK, TOO_MANY_RECIPIENTS, UTF8_RECIPIENT, Reply
from mailsvc.smtp.session import Session


async def rcpt(session: Session, argument: bytes) -> Reply:
    """Add a recipient; the same one twice is one recipient, and two for the limit."""
    path, given = parse_path_argument(argument, "TO:")
    parameters = read_rcpt_parameters(given, session.rcpt_parameters)
    if not (session.parameters.utf8 or path.isascii()):
        return UTF8_RECIPIENT
    directory = session.house.directory
    address = parse_forward_path(path, await directory.home(), utf8=session.parameters.utf8)
    if len(session.accepted) >= session.house.settings.most_recipients:
        return TOO_MANY_RECIPIENTS
    way = await find_recipient(
        directory, address, session.login, session.parameters.size, session.house.relay
    )
    if session.house.rules is not None:
        session.house.rules.check_recipient(address)
    session.admit_recipient()
    session.add(Recipient(address, way.accounts, *parameters, way.remote))
    return RECIPIENT_OK

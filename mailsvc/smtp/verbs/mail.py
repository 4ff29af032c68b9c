"""MAIL; RFC 5321 section 4.1.1.2."""

from datetime import UTC, datetime

from mailsvc.config.settings import Kind
from mailsvc.model.address import Address
from mailsvc.policy.relay import check_sender
from mailsvc.smtp.grammar import parse_path_argument, parse_reverse_path
from mailsvc.smtp.parameters import read_mail_parameters
from mailsvc.smtp.replies import LOGIN_FIRST, SENDER_OK, STORAGE_FULL, TOO_BIG, UTF8_SENDER, Reply
from mailsvc.smtp.session import Session


async def mail(session: Session, argument: bytes) -> Reply:
    """Begin a transaction with its sender."""
    if session.house.kind is Kind.SUBMISSION and session.login is None:
        return LOGIN_FIRST
    path, given = parse_path_argument(argument, "FROM:")
    parameters = read_mail_parameters(given, session.mail_parameters, datetime.now(UTC))
    if not (parameters.utf8 or path.isascii()):
        return UTF8_SENDER
    sender = parse_reverse_path(path, utf8=parameters.utf8)
    if parameters.size > session.house.settings.largest_message:
        return TOO_BIG
    await _check(session, sender)
    if session.house.rules is not None and sender is not None:
        session.house.rules.check_sender(sender)
    if not session.house.has_room(parameters.size):
        return STORAGE_FULL
    session.admit_message()
    session.begin(sender, parameters)
    return SENDER_OK


async def _check(session: Session, sender: Address | None) -> None:
    """Let a user send under addresses that are the user's: the mail for them comes here."""
    login = session.login
    if login is None or sender is None or sender.key == login.address.key:
        return
    directory = session.house.directory
    local = await directory.is_local(sender.domain)
    check_sender(login, await directory.find(sender) if local else None)

"""Why the database does not answer, in words for an administrator."""

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from mailsvc.errors import MailError

_HIDDEN = "***"
_MOST = 300
"""Characters; a server may have much to say."""
_TOO_MANY_ATS = 'database.url has a second "@": in a password it is written as %40'


def reason_of(error: MailError, url: URL) -> str:
    """
    Say in one line what lies behind an error that a peer may be told.

    The words are the driver's, but never a password of the URL.

    Args:
        error: As ``to_mail_error`` has made it; without a cause it speaks for itself.
        url: Of the database.
    """
    cause = error.__cause__
    if cause is None:
        return str(error)
    if url.host and "@" in f"{url.host}/{url.database}":
        # What stands before the last one is a part of the password, and drivers tell the host.
        return _TOO_MANY_ATS
    text = _first_line(cause)
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text[:_MOST]


def _first_line(cause: BaseException) -> str:
    """Take what the driver says: behind it stand hints, statements, and mail in their values."""
    said = cause.orig if isinstance(cause, DBAPIError) and cause.orig is not None else cause
    # PyMySQL and the system give a number, and then the text.
    words = said.args[1] if len(said.args) > 1 and isinstance(said.args[0], int) else said
    lines = str(words).strip().splitlines()
    return lines[0] if lines else type(said).__name__


def _secrets(url: URL) -> set[str]:
    """Collect what must not be shown, as it is and as Python quotes it."""
    found = {str(url.password or "")}
    for name, values in url.normalized_query.items():
        if "passw" in name.lower():
            found.update(values)
    return {way for one in found if one for way in (one, repr(one)[1:-1])}

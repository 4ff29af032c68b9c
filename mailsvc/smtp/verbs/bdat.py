"""BDAT; RFC 3030 section 2."""

import re

from mailsvc.smtp.replies import BAD_CHUNK, Chunk, Reply
from mailsvc.smtp.session import Session

_ARGUMENT = re.compile(rb"(\d{1,18})(?: +(LAST))?", re.IGNORECASE)


async def bdat(session: Session, argument: bytes) -> Chunk | Reply:
    """Tell how many octets follow; ``protocol`` reads them, ``smtp/content.py`` takes them."""
    del session
    found = _ARGUMENT.fullmatch(argument)
    if found is None:
        # Nobody knows where the octets behind it end.
        return BAD_CHUNK
    return Chunk(int(found.group(1)), last=found.group(2) is not None)

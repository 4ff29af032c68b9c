"""What the daemon does for each command; a file for each topic."""

from mailsvc.control.answers import aliases, domains, export, services, users
from mailsvc.control.answers.base import Answers

ANSWERS: Answers = {
    **aliases.ANSWERS,
    **domains.ANSWERS,
    **export.ANSWERS,
    **services.ANSWERS,
    **users.ANSWERS,
}
"""Everything but ``Hello``, which is the matter of the connection."""

"""What the daemon does for each command; a file for each topic."""

from mailsvc.control.answers import (
    aliases,
    broadcasts,
    dkim,
    domains,
    export,
    filters,
    logs,
    queue,
    registration,
    services,
    sessions,
    settings,
    trail,
    users,
)
from mailsvc.control.answers.base import Answers

ANSWERS: Answers = {
    **aliases.ANSWERS,
    **broadcasts.ANSWERS,
    **dkim.ANSWERS,
    **domains.ANSWERS,
    **export.ANSWERS,
    **filters.ANSWERS,
    **logs.ANSWERS,
    **services.ANSWERS,
    **queue.ANSWERS,
    **registration.ANSWERS,
    **sessions.ANSWERS,
    **settings.ANSWERS,
    **trail.ANSWERS,
    **users.ANSWERS,
}
"""Everything but ``Hello``, which is the matter of the connection."""

"""How many files this process may have open: connections are files to the system."""

import resource

from twisted.logger import Logger

_OTHERS = 256
"""Files besides those of connections: database, logs, the reactor's own."""
_log = Logger()


def allow_connections(connections: int) -> None:
    """
    Raise the limit of open files for so many connections, as far as the system allows.

    Shells and supervisors start programs with 1024. Each connection may have a message in
    arrival, which is a file, too.
    """
    wanted = 2 * connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < connections + _OTHERS:
        _log.warn(
            "limits.connections is {connections}, but the system allows {allowed} open files; "
            "raise its limit (ulimit -Hn, LimitNOFILE=) or lower limits.connections",
            connections=connections,
            allowed=allowed,
        )

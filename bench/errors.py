"""What can go wrong in a benchmark; click ends it with the text and exit code 1."""

import click


class BenchError(click.ClickException):
    """Something is wrong with a server, with a load or with this machine."""


class Damaged(BenchError):
    """A message came back otherwise than it was sent."""


class LoadFailed(BenchError):
    """A load generator could not do its job; it has said why."""


class NotReady(BenchError):
    """This machine or this user cannot run a server."""


class Stuck(BenchError):
    """A daemon did not start or stop, or did not finish its work, in time."""


class Unexpected(BenchError):
    """A server said what a dialogue cannot go on with, or nothing at all."""

"""Enhanced status codes; RFC 3463."""

from typing import NamedTuple


class Status(NamedTuple):
    """An enhanced status code: class, subject and detail; RFC 3463 section 2."""

    kind: int
    subject: int
    detail: int

    def __str__(self) -> str:
        """Write it as on the wire: ``4.2.2``."""
        return f"{self.kind}.{self.subject}.{self.detail}"

    @property
    def permanent(self) -> bool:
        """Whether trying again is useless."""
        return self.kind == 5  # noqa: PLR2004 - the 5 of 5yz

"""Books kept over every accepted message: each must be where it belongs, once."""

from collections import Counter
from collections.abc import Sequence

from bench.load_smtp import Job


class Ledger:
    """What one server accepted."""

    def __init__(self) -> None:
        self._expected: Counter[tuple[int, bytes]] = Counter()
        self._refused: set[bytes] = set()

    def add(self, job: Job, refused: Sequence[int]) -> None:
        """Book a job whose messages, but for the *refused*, were accepted."""
        self._refused.update(job.token(index) for index in refused)
        for index in sorted(set(range(job.messages)) - set(refused)):
            token = job.token(index)
            self._expected.update((user, token) for user in job.recipients_of(index))

    @property
    def refused(self) -> int:
        """The number of messages that the server did not take."""
        return len(self._refused)

    def audit(self, mailboxes: Sequence[Sequence[bytes]]) -> tuple[int, list[str]]:
        """
        Compare what is there with what should be there.

        Args:
            mailboxes: The tokens in each user's mailbox.

        Returns:
            How many entries are right, and the mistakes in words.
        """
        found = Counter((user, token) for user, box in enumerate(mailboxes) for token in box)
        mistakes = [f"{_name(e)} is missing" for e in self._expected if not found[e]]
        mistakes += [f"{_name(e)} is there {n} times" for e, n in found.items() if n > 1]
        mistakes += [f"{_name(e)} belongs elsewhere" for e in found if self._is_stray(e)]
        right = sum(found[entry] == 1 for entry in self._expected)
        return right, mistakes

    def _is_stray(self, entry: tuple[int, bytes]) -> bool:
        # A refused message may be there all the same: a reply can be lost, mail cannot.
        return entry not in self._expected and entry[1] not in self._refused


def _name(entry: tuple[int, bytes]) -> str:
    return f"Message {entry[1].decode()} of user {entry[0]}"

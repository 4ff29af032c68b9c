"""Ask every filter; the strictest verdict wins and none can hide another."""

from collections.abc import Mapping
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailsvc.background import begin
from mailsvc.interfaces import IFilter, Incoming
from mailsvc.model.status import Status
from mailsvc.model.verdict import PASS, Decision, Verdict, tempfail

PATIENCE = 60.0
"""Seconds that a filter may take; clients wait ten minutes (RFC 5321 section 4.5.3.2.6)."""


@dataclass(frozen=True)
class FilterChain:
    """
    The filters in force; a new chain replaces an old one as a whole.

    Args:
        filters: By name, in the order of config.yaml.
        clock: Ends the wait for a filter that does not answer.
    """

    filters: Mapping[str, IFilter]
    clock: IReactorTime
    _log = Logger()

    async def judge(self, mail: Incoming) -> Verdict:
        """Give the strictest of all verdicts."""
        strictest = PASS
        for name, one in self.filters.items():
            verdict = await self._ask(name, one, mail)
            if verdict.decision is not Decision.PASS:
                self._log.info(
                    "filter {name} says {decision}: {reason}",
                    name=name,
                    decision=verdict.decision.name,
                    reason=verdict.reason,
                )
            if verdict.decision > strictest.decision:
                strictest = verdict
        return strictest

    async def _ask(self, name: str, one: IFilter, mail: Incoming) -> Verdict:
        try:
            answer = begin(one.judge(mail))
            if isinstance(answer, Deferred):
                return await answer.addTimeout(PATIENCE, self.clock)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a filter is not ours, and its fault must not lose mail
            self._log.failure("filter {name} failed", name=name)
            return tempfail(Status(4, 3, 0), "A filter failed; please try again later")
        else:
            return answer

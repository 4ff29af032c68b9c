"""Run a reactor for as long as one conversation with the daemon takes."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from mailsvc.cli.place import Conversation, Result
from mailsvc.control.client import Remote, connect


def talk(place: Path | Remote, conversation: Conversation[Result]) -> Result:
    """
    Connect to the daemon, hold the conversation, hang up.

    Raises:
        NotReachable: There is no daemon.
        OperatorError: What the daemon answers.
        KeyboardInterrupt: The user had enough of it.
    """
    # One of its own: nothing else in this process has a reactor.
    reactor: Any = SelectReactor()
    outcome: list[Result | Failure] = []
    ending: list[bool] = []

    async def hold() -> Result:
        client = await connect(reactor, place)
        try:
            return await conversation(client)
        finally:
            client.close()

    def done(result: Result | Failure) -> None:
        # Ctrl-C ends the reactor first, and then the connection: that is no answer.
        if not ending:
            outcome.append(result)
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(hold()).addBoth(done))
    reactor.addSystemEventTrigger("before", "shutdown", ending.append, True)
    reactor.run()
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]

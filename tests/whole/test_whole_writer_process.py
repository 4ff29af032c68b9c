"""The process that commits deliveries may be killed, stopped or missing: no mail is lost by it."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, MakeDaemon, note, wait_until
from tests.support.load import Ledger, Load, collected_tokens, stored_tokens
from tests.support.small_disk import SmallDisk, fill

KILLS = 6
_MAIN = b"mailsvc.store.writer_main"
_END = "the writer's process has ended"


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """Start a daemon that has the process from the start."""
    return make_daemon(settings={"database": {"writer_process": True}}).start()


def writers_of(daemon: int) -> list[int]:
    """Find the processes that a daemon has started to write for it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_bytes().rpartition(b")")[2].split()[1])
            if parent == daemon and _MAIN in (place / "cmdline").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:
            continue  # It has ended meanwhile.
    return found


def is_there(pid: int) -> bool:
    """Whether a process lives; one that nobody has asked about since its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def written(pid: int) -> int:
    """Tell how many octets a process has written, into pipes and files."""
    try:
        counters = dict(
            line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines()
        )
    except OSError:
        return 0  # It has ended meanwhile.
    return int(counters["wchar"])


def wait_for_process(daemon: Daemon) -> None:
    """Wait until a process is ready; one that has died a few times is started after a while."""

    def ready() -> object:
        return daemon.mailctl("status", "--json").parsed["database"]["writer_pid"]

    wait_until(ready, "a process that is ready", 100)


def wait_for_work(daemon: Daemon) -> int:
    """Wait until a process writes mail, under a load that goes on; gives its number."""
    wait_until(lambda: writers_of(daemon.pid), "a process that writes")
    (pid,) = writers_of(daemon.pid)
    wait_until(lambda: written(pid) > 0, "its first word")
    before = written(pid)
    wait_until(lambda: written(pid) > before + 500_000, "mail that it has written")
    return pid


def kill(pid: int) -> None:
    """Send SIGKILL, and wait for the end."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_there(pid), "the end of the process")


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """Stop a process for a while; one that was stopped would outlive a test that fails."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def chance_of(name: str) -> random.Random:
    """Make moments that nobody has chosen, and note how to make them again."""
    seed = random.randrange(1_000_000)  # noqa: S311 - no secret
    note(f"{name}: seed {seed}")
    return random.Random(seed)  # noqa: S311 - no secret


def wait_for_more(load: Load, more: int) -> None:
    """Wait until some more messages were accepted."""
    enough = load.accepted + more
    wait_until(lambda: load.accepted >= enough, f"{more} messages more")


def check_stored(daemon: Daemon, ledger: Ledger) -> None:
    """Hold what the clients were told against what is there, in the file and for its owner."""
    found, _ = stored_tokens(daemon.database)
    ledger.check(found)
    with closing(daemon.pop3("bob")) as client:
        assert collected_tokens(client, whole=False) == found
        client.quit()


def check_quiet(daemon: Daemon) -> None:
    """See that nothing went wrong that somebody should mend."""
    assert "Traceback" not in daemon.output + daemon.errors
    for file in daemon.state.glob("log/*"):
        assert "Traceback" not in file.read_text("utf-8", "replace")


def test_a_process_that_is_killed_again_and_again_loses_nothing(daemon: Daemon) -> None:
    """
    Kill -9, at any moment, under load: no client hears of it.

    Each message that got 250 is there once. The log tells each time, and a new process is at
    work a while later.
    """
    chance = chance_of("kills")
    load = Load(daemon.ports["mx"], "killed", senders=10).start()
    for _ in range(KILLS):
        pid = wait_for_work(daemon)
        wait_for_more(load, chance.randrange(200))
        kill(pid)
        wait_for_more(load, 50)
    wait_for_work(daemon)
    load.stop()
    ledger = load.finish()

    note(f"{len(ledger.accepted)} messages")
    assert not ledger.replies
    assert not ledger.unanswered
    check_stored(daemon, ledger)
    check_quiet(daemon)
    assert (daemon.output + daemon.errors).count(_END) == KILLS
    assert daemon.stop() == 0


def test_users_read_their_mail_while_the_process_stands_still(daemon: Daemon) -> None:
    """Senders wait for their 250, nobody else does; when it goes on, nothing is lost or doubled."""
    load = Load(daemon.ports["mx"], "stopped", senders=10).start()
    for _ in range(3):
        pid = wait_for_work(daemon)
        with standing_still(pid):
            standing = accepted_at_rest(load)
            with closing(daemon.pop3("bob")) as reader:
                assert reader.stat()[0] >= standing
                assert len(reader.retr(1)[1]) > 10
                reader.quit()
            with closing(daemon.smtp()) as other:
                assert other.noop()[0] == 250
                assert other.ehlo()[0] == 250
                assert other.mail("a@example.com")[0] == 250
                assert other.rcpt("bob@test.com")[0] == 250
            assert load.accepted == standing
        wait_for_more(load, 20)
        assert writers_of(daemon.pid) == [pid]
    load.stop()
    ledger = load.finish()

    assert not ledger.replies
    assert not ledger.unanswered
    check_stored(daemon, ledger)
    check_quiet(daemon)


def accepted_at_rest(load: Load) -> int:
    """Wait until no client gets an answer any more; gives how many got one."""
    seen = [-1] * 15

    def rests() -> bool:
        seen.append(load.accepted)
        return len(set(seen[-15:])) == 1

    wait_until(rests, "no answer any more")
    return seen[-1]


def test_a_process_that_stands_still_is_replaced(daemon: Daemon) -> None:
    """One that answers nothing is ended after half a minute; no client hears of it."""
    load = Load(daemon.ports["mx"], "still", senders=5).start()
    pid = wait_for_work(daemon)
    with standing_still(pid):
        wait_until(lambda: not is_there(pid), "the end of the process", 60)

    assert wait_for_work(daemon) != pid
    load.stop()
    ledger = load.finish()
    assert not ledger.replies
    check_stored(daemon, ledger)
    assert "does not answer" in daemon.output + daemon.errors


def test_a_daemon_stops_while_its_process_stands_still(daemon: Daemon) -> None:
    """A process that answers nothing keeps nobody from ending the service; no 250 is lost."""
    load = Load(daemon.ports["mx"], "stuck", senders=5).start()
    pid = wait_for_work(daemon)

    with standing_still(pid):
        assert daemon.stop(seconds=60) == 0
        assert not is_there(pid)

    ledger = load.finish()
    ledger.check(stored_tokens(daemon.database)[0])


@pytest.mark.parametrize("one", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_both_is_an_orderly_end(daemon: Daemon, one: signal.Signals) -> None:
    """Ctrl-C in a terminal, and a service manager, signal every process: nothing is lost."""
    load = Load(daemon.ports["mx"], "both", senders=20).start()
    pid = wait_for_work(daemon)

    os.killpg(daemon.pid, one)
    status = daemon.stop() if one == signal.SIGTERM else ended(daemon)
    ledger = load.finish()

    if one == signal.SIGTERM:
        assert status == 0
    wait_until(lambda: not is_there(pid), "the end of the process")
    assert {reply[:9] for reply in ledger.replies} <= {"421 4.3.2"}
    ledger.check(stored_tokens(daemon.database)[0])
    check_quiet(daemon)
    assert _END not in daemon.output + daemon.errors
    check_stored(daemon.start(), ledger)


def ended(daemon: Daemon) -> int:
    """Wait for the end of a daemon that was told to end."""
    pid = daemon.pid
    wait_until(lambda: not is_there(pid), "the end of the daemon")
    return daemon.stop()


def test_a_signal_to_both_right_after_the_start_is_an_orderly_end(daemon: Daemon) -> None:
    """Not even a process that is just being started disturbs the end."""
    pids = writers_of(daemon.pid)

    os.killpg(daemon.pid, signal.SIGTERM)

    assert daemon.stop() == 0
    wait_until(lambda: not any(map(is_there, pids)), "the end of the process")
    assert "Traceback" not in daemon.output


def test_the_process_does_not_outlive_a_daemon_that_was_killed(daemon: Daemon) -> None:
    """The next daemon starts at once, has the database for itself, and every 250 once."""
    everything = Ledger()
    for number in range(3):
        load = Load(daemon.ports["mx"], f"crash{number}", senders=10).start()
        pid = wait_for_work(daemon)

        daemon.kill()
        everything.add(load.finish())
        daemon.start()

        wait_until(lambda pid=pid: not is_there(pid), "the end of the process")  # type: ignore[misc]  # bound now
        assert not any("Traceback" in file.read_text() for file in daemon.folder.glob("*.err"))
        everything.check(stored_tokens(daemon.database)[0])
    load = Load(daemon.ports["mx"], "after", senders=10).start()
    wait_for_work(daemon)
    load.stop()
    everything.add(load.finish())
    check_stored(daemon, everything)


def test_nothing_of_the_daemon_is_open_in_the_process(daemon: Daemon) -> None:
    """No port, no lock and no connection of a client stays open behind a daemon that has ended."""
    client = daemon.smtp()
    load = Load(daemon.ports["mx"], "open", senders=2).start()
    pid = wait_for_work(daemon)
    kill(pid)
    pid = wait_for_work(daemon)
    load.stop()
    load.finish()

    there = {place.name: str(place.readlink()) for place in Path(f"/proc/{pid}/fd").iterdir()}
    client.close()

    assert not [name for name in there.values() if name.startswith(("socket:", "anon_inode:"))]
    assert not [name for name in there.values() if name.endswith(".lock")]
    ours = {"0", "1", "2", "3", "4"}
    others = {name for number, name in there.items() if number not in ours}
    assert {Path(name).name for name in others} <= {
        "mailsvc.db",
        "mailsvc.db-wal",
        "mailsvc.db-shm",
    }


def test_a_daemon_with_little_to_do_has_no_process(make_daemon: MakeDaemon) -> None:
    """It comes with the first rush, and loses nothing by coming."""
    daemon = make_daemon().start()
    quiet = Load(daemon.ports["mx"], "quiet", senders=1, most=3).start().finish()
    assert writers_of(daemon.pid) == []

    load = Load(daemon.ports["mx"], "rush", senders=10).start()
    wait_for_work(daemon)
    load.stop()
    ledger = load.finish()
    ledger.add(quiet)
    check_stored(daemon, ledger)
    check_quiet(daemon)


def test_the_process_can_be_switched_off(make_daemon: MakeDaemon) -> None:
    """With ``database.writer_process: false`` there is one process, and mail works as ever."""
    daemon = make_daemon(settings={"database": {"writer_process": False}}).start()

    load = Load(daemon.ports["mx"], "alone", senders=10, most=20).start()
    ledger = load.finish()

    assert len(ledger.accepted) == 200
    assert not writers_of(daemon.pid)
    check_stored(daemon, ledger)
    assert daemon.stop() == 0


def test_large_and_small_messages_get_along(daemon: Daemon) -> None:
    """Whoever writes which: all are there, once and whole, and the books are right."""
    small = Load(daemon.ports["mx"], "small", senders=6, octets=2_000).start()
    medium = Load(daemon.ports["mx"], "medium", senders=2, octets=250_000).start()
    large = Load(daemon.ports["mx"], "large", senders=2, octets=600_000).start()
    wait_for_work(daemon)
    loads = (small, medium, large)
    wait_until(lambda: all(load.accepted > 20 for load in loads), "messages of each size")
    ledger = Ledger()
    for load in loads:
        load.stop()
    for load in loads:
        ledger.add(load.finish())

    assert not ledger.replies
    assert not ledger.unanswered
    ledger.check(stored_tokens(daemon.database)[0])
    with closing(daemon.pop3("bob")) as client:
        assert client.stat()[0] == len(ledger.accepted)
        client.quit()
    check_quiet(daemon)


def test_a_full_disk_is_told_by_the_process_and_over_when_there_is_room(
    make_daemon: MakeDaemon, small_disk: SmallDisk
) -> None:
    """Clients hear 452 4.3.1 while it is full, whoever writes, also a process that is new."""
    settings = {"spool": {"spare_disk": 0}, "database": {"writer_process": True}}
    daemon = make_daemon(settings=settings)
    small_disk("state", daemon.folder, mib=40)
    daemon.start()
    wait_for_process(daemon)
    load = Load(daemon.ports["mx"], "before", senders=6).start()
    pid = wait_for_work(daemon)
    load.stop()
    ledger = load.finish()
    filling = fill(daemon.state, left_kib=600)

    ledger.add(full := send(daemon, "full"))
    assert {reply[:9] for reply in full.replies} == {"452 4.3.1"}
    kill(pid)
    wait_until(lambda: writers_of(daemon.pid), "a new process")
    ledger.add(full := send(daemon, "still"))
    assert {reply[:9] for reply in full.replies} == {"452 4.3.1"}

    filling.unlink()
    # Before the load, which would fill the small disk while it waits to be started again.
    wait_for_process(daemon)
    after = Load(daemon.ports["mx"], "after", senders=6).start()
    wait_for_work(daemon)
    after.stop()
    ledger.add(room := after.finish())
    assert not room.replies
    check_stored(daemon, ledger)
    assert daemon.stop() == 0


def send(daemon: Daemon, name: str) -> Ledger:
    """Let six clients send some messages each."""
    return Load(daemon.ports["mx"], name, senders=6, octets=150_000, most=15).start().finish()

"""mailctl domain, alias, group and forward, as administrators see them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from mailsvc.cli.main import program
from mailsvc.cli.mbox import mbox_entry
from mailsvc.cli.place import Doors
from mailsvc.errors import StorageFailed
from mailsvc.model.account import Role
from mailsvc.model.address import parse_address
from mailsvc.model.user import NewUser
from mailsvc.store.deliveries import INLINE
from mailsvc.store.removal import purge_bodies
from mailsvc.store.tables import trail
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, finish, open_office
from tests.support.mail_store import NOON, TRACE, Store, orphans


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Open an office with alice and bob of test.com."""
    with open_office(tmp_path) as opened:
        for name in ("alice", "bob"):
            add(opened, name)
        yield opened


def add(office: Office, address: str, **asked: Any) -> None:
    """Make an account."""
    finish(office.administration.users.add(NewUser(address=address, **asked), by="test"))


def mailctl(office: Office, *arguments: str, stdin: str = "", terminal: bool = False) -> Result:
    """Run a command in memory."""
    talk = talk_in_memory(office.administration, office.clock)
    doors = Doors(talk=talk, interactive=lambda: terminal)
    return CliRunner().invoke(program, ("--socket", "/x", *arguments), input=stdin, obj=doors)


def said(office: Office, *arguments: str) -> str:
    """Run a command that works; gives what it says."""
    done = mailctl(office, *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def parsed(office: Office, *arguments: str) -> Any:
    """Run a command that works; gives its JSON."""
    return json.loads(said(office, *arguments, "--json"))


def refused(office: Office, *arguments: str) -> str:
    """Run a command that is refused; gives the line that says why."""
    done = mailctl(office, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return str(line.removeprefix("mailctl: "))


class TestDomains:
    """``mailctl domain``."""

    def test_a_domain_is_made_and_shown_in_its_own_script(self, office: Office) -> None:
        """Programs get both forms."""
        assert said(office, "domain", "add", "例子.测试") == "例子.测试 is a domain of yours now.\n"

        assert said(office, "domain", "list").splitlines() == [
            "DOMAIN     STATE    ACCOUNTS  ALIASES  MESSAGES  SIZE  QUOTA  CATCH-ALL",
            "test.com   enabled         3        0         0   0 B      -  -",
            "例子.测试  enabled         0        0         0   0 B      -  -",
        ]
        shown = parsed(office, "domain", "show", "例子.测试")
        assert (shown["name"], shown["shown"]) == ("xn--fsqu00a.xn--0zwm56d", "例子.测试")
        assert "例子.测试 (xn--fsqu00a.xn--0zwm56d)" in said(office, "domain", "show", "例子.测试")

    @pytest.mark.parametrize("name", ["[127.0.0.1]", "a b", "", "-x.com"])
    def test_what_is_no_domain_is_refused(self, office: Office, name: str) -> None:
        """With a reason."""
        assert repr(name) in refused(office, "domain", "add", "--", name)

    def test_the_same_domain_twice(self, office: Office) -> None:
        """Whatever its case."""
        assert refused(office, "domain", "add", "TEST.com") == "the domain test.com exists already"

    def test_quotas_and_catch_all_come_and_go(self, office: Office) -> None:
        """What is not named stays."""
        said(office, "domain", "set", "test.com", "--quota", "1GiB", "--catch-all", "alice")
        text = said(office, "domain", "set", "test.com", "--quota-messages", "10")
        assert text == "test.com: quota 1.0 GiB, 10 messages, catch-all alice@test.com.\n"
        listed = parsed(office, "domain", "list")[0]
        assert (listed["quota_octets"], listed["quota_messages"]) == (1 << 30, 10)
        assert listed["catch_all"] == "alice@test.com"

        options = ("--quota", "none", "--quota-messages", "none", "--catch-all", "none")
        assert said(office, "domain", "set", "test.com", *options) == (
            "test.com: quota none, catch-all none.\n"
        )

    def test_a_wrong_value_is_told(self, office: Office) -> None:
        """Before anything is changed."""
        for options in (("--quota", "much"), ("--quota-messages", "0"), ("--quota-messages", "x")):
            assert mailctl(office, "domain", "set", "test.com", *options).exit_code == 2
        assert "say what" in refused(office, "domain", "set", "test.com")
        assert "nobody@test.com" in refused(
            office, "domain", "set", "test.com", "--catch-all", "nobody"
        )

    def test_a_domain_that_is_needed_stays(self, office: Office) -> None:
        """The last one, and the one with the last administrator."""
        assert "last domain" in refused(office, "domain", "disable", "test.com")
        said(office, "domain", "add", "other.org")
        assert "last administrator" in refused(office, "domain", "disable", "test.com")
        assert "last administrator" in refused(office, "domain", "remove", "test.com", "--yes")

        add(office, "root@other.org", role=Role.ADMIN)
        assert said(office, "domain", "disable", "test.com") == "test.com is disabled.\n"
        assert "last domain" in refused(office, "domain", "disable", "other.org")

    def test_users_of_a_disabled_domain_are_disabled(self, office: Office) -> None:
        """And come back with it."""
        said(office, "domain", "add", "other.org")
        add(office, "dora@other.org")
        dora = parse_address("dora@other.org")

        said(office, "domain", "disable", "other.org")
        found = finish(office.directory.find(dora))
        assert found is not None
        assert not found.enabled
        assert finish(office.directory.is_disabled("other.org"))

        said(office, "domain", "enable", "other.org")
        assert finish(office.directory.route(dora)).accounts
        assert not finish(office.directory.is_disabled("other.org"))

    def test_an_empty_domain_is_removed(self, office: Office) -> None:
        """After a question; scripts say --yes."""
        said(office, "domain", "add", "other.org")
        assert mailctl(office, "domain", "remove", "other.org").exit_code == 2
        no = mailctl(office, "domain", "remove", "other.org", stdin="n\n", terminal=True)
        assert no.exit_code == 1
        yes = mailctl(office, "domain", "remove", "other.org", stdin="y\n", terminal=True)
        assert yes.stdout == "Removed the domain other.org.\n"
        assert "not one of ours" in refused(office, "domain", "show", "other.org")

    def test_what_others_lead_to_stays(self, office: Office) -> None:
        """A group of another domain would lose a member silently."""
        said(office, "domain", "add", "other.org")
        said(office, "alias", "add", "info@other.org", "alice")
        said(office, "group", "add", "team", "info@other.org")

        assert "mailctl domain remove other.org --force --backup FILE" in (
            refused(office, "domain", "remove", "other.org", "--yes")
        )

    def test_changes_are_in_the_trail(self, office: Office) -> None:
        """With who did them."""
        said(office, "domain", "add", "other.org")
        said(office, "group", "add", "team@other.org", "alice")
        with office.engines.read.connect() as connection:
            rows = [json.loads(one) for one in connection.scalars(select(trail.c.detail))]
        told = [(one["did"], one.get("domain"), one.get("targets")) for one in rows[-2:]]
        assert told == [("domain add", "other.org", None), ("group add", None, "alice@test.com")]
        assert rows[-1]["by"] == f"uid {os.geteuid()}"


class TestRemovalWithBackup:
    """``mailctl domain remove --force --backup FILE``."""

    @pytest.fixture
    def full(self, office: Office) -> Office:
        """Give other.org with dora, who has mail, and an alias."""
        said(office, "domain", "add", "other.org")
        add(office, "dora@other.org", display_name="Dora")
        said(office, "alias", "add", "info@other.org", "dora@other.org")
        said(office, "forward", "set", "dora@other.org", "alice", "--keep")
        self.store = Store(office.engines, node=3)
        dora = finish(office.directory.find(parse_address("dora@other.org")))
        assert dora is not None
        self.bodies = (b"Subject: one\r\n\r\nFrom here\r\n", b"x" * INLINE + b"\r\nlarge")
        mail = [self.store.delivery(one, dora, sender="e@a.org") for one in self.bodies]
        assert self.store.deliver(*mail) == [None, None]
        return office

    def test_everything_is_saved_before_it_goes(self, full: Office, tmp_path: Path) -> None:
        """Rows as JSON, mail as mbox; only the owner may read the file."""
        file = tmp_path / "other.zip"
        arguments = ("domain", "remove", "other.org", "--force", "--backup", str(file), "--yes")

        assert said(full, *arguments).splitlines() == [
            f"Saved 1 account with 2 messages in {file}.",
            "Removed the domain other.org.",
        ]

        assert file.stat().st_mode & 0o777 == 0o600
        with ZipFile(file) as archive:
            assert archive.testzip() is None
            rows = json.loads(archive.read("domain.json"))
            mbox = archive.read("mail/dora@other.org/INBOX.mbox")
        assert mbox == b"".join(mbox_entry(TRACE + one, "e@a.org", NOON) for one in self.bodies)
        assert rows["accounts"][0]["display_name"] == "Dora"
        assert {one["kind"] for one in rows["aliases"]} == {"alias", "forward"}
        assert [one["name"] for one in parsed(full, "domain", "list")] == ["test.com"]
        self.store.do(purge_bodies)
        assert self.store.do(orphans) == set()

    def test_a_file_is_never_overwritten(self, full: Office, tmp_path: Path) -> None:
        """Nothing is removed and the domain stays in use."""
        file = tmp_path / "other.zip"
        file.write_text("mine")
        arguments = ("domain", "remove", "other.org", "--force", "--backup", str(file), "--yes")

        assert "exists already" in refused(full, *arguments)

        assert file.read_text() == "mine"
        assert parsed(full, "domain", "show", "other.org")["enabled"]

    def test_what_cannot_be_saved_is_not_removed(
        self, full: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The half file goes, and the domain is in use again."""
        file = tmp_path / "other.zip"
        arguments = ("domain", "remove", "other.org", "--force", "--backup", str(file), "--yes")

        async def broken(*_arguments: object) -> bytes:
            raise StorageFailed

        monkeypatch.setattr(full.administration.export, "read", broken)
        assert "storage is not available" in refused(full, *arguments)

        assert not file.exists()
        assert parsed(full, "domain", "show", "other.org")["enabled"]

    def test_mail_that_was_not_saved_stays(self, full: Office, tmp_path: Path) -> None:
        """A message that came in after the file was written is not lost with the domain."""
        file = tmp_path / "other.zip"
        dora = finish(full.directory.find(parse_address("dora@other.org")))
        assert dora is not None
        late, remove = self.store.delivery(b"late\r\n", dora), full.administration.domains.remove

        async def later(*asked: Any, **more: Any) -> str:
            assert self.store.deliver(late) == [None]
            return await remove(*asked, **more)

        object.__setattr__(full.administration.domains, "remove", later)
        arguments = ("domain", "remove", "other.org", "--force", "--backup", str(file), "--yes")
        assert "has changed since it was saved" in refused(full, *arguments)
        assert parsed(full, "domain", "show", "other.org")["messages"] == 3

    def test_force_needs_a_backup(self, full: Office) -> None:
        """And a backup needs force."""
        for options in (("--force",), ("--backup", "x.zip")):
            assert mailctl(full, "domain", "remove", "other.org", *options).exit_code == 2

    def test_a_domain_in_use_is_not_removed_with_its_accounts(self, full: Office) -> None:
        """Other programs of administrators have to disable it first."""
        from mailsvc.errors import CommandError
        from mailsvc.model.domain import Saved

        saved = Saved(accounts=1, aliases=1, messages=2)
        with pytest.raises(CommandError, match="still takes mail"):
            finish(full.administration.domains.remove("other.org", saved, by="test"))


class TestAliases:
    """``mailctl alias``, ``group`` and ``forward``."""

    def test_an_alias_lives_and_dies(self, office: Office) -> None:
        """Each command says what became of it."""
        assert said(office, "alias", "add", "info", "alice") == (
            "Made the alias info@test.com: its mail goes to alice@test.com.\n"
        )
        assert said(office, "alias", "disable", "info") == "The alias info@test.com is disabled.\n"
        assert said(office, "alias", "list").splitlines()[1:] == [
            "info@test.com  disabled  alice@test.com"
        ]
        assert parsed(office, "alias", "enable", "info")["enabled"]
        assert said(office, "alias", "remove", "info") == "Removed the alias info@test.com.\n"
        assert refused(office, "alias", "show", "info") == "there is no alias info@test.com"

    def test_a_group_has_members(self, office: Office) -> None:
        """A list shows three of them, show all."""
        said(office, "group", "add", "team")
        assert said(office, "group", "member", "add", "team", "alice", "bob") == (
            "The group team@test.com has 2 members.\n"
        )
        said(office, "group", "member", "add", "team", "admin", "postmaster")
        line = said(office, "group", "list").splitlines()[1]
        assert line.endswith("alice@test.com, bob@test.com, admin@test.com and 1 more")
        said(office, "group", "member", "remove", "team", "alice")
        shown = parsed(office, "group", "show", "team")
        assert shown["targets"] == ["bob@test.com", "admin@test.com", "postmaster@test.com"]
        assert said(office, "group", "show", "team").splitlines()[-1] == "  postmaster@test.com"

    @pytest.mark.parametrize(
        ("options", "kept"),
        [((), False), (("--keep",), True), (("alice",), True), (("alice", "--no-keep"), False)],
    )
    def test_a_forward_keeps_a_copy_or_not(
        self,
        office: Office,
        options: tuple[str, ...],
        kept: bool,  # noqa: FBT001 - a column
    ) -> None:
        """As the options say; the own address among the targets is a copy."""
        text = said(office, "forward", "set", "alice", "bob", *options)
        assert ("it keeps a copy" in text) == kept
        assert ("its own mailbox" in said(office, "forward", "show", "alice")) == kept

        said(office, "forward", "remove", "alice")
        assert parsed(office, "forward", "list") == []

    def test_a_kind_is_not_another(self, office: Office) -> None:
        """A group is not removed as an alias."""
        said(office, "group", "add", "team", "alice")
        assert refused(office, "alias", "remove", "team") == "there is no alias team@test.com"

    def test_long_lists_come_in_pages(self, office: Office) -> None:
        """Also when each has many targets."""
        for number in range(30):
            said(office, "alias", "add", f"{'x' * 50}{number}", "alice")
        members = [f"{'x' * 50}{number}" for number in range(30)]
        for number in range(30):
            said(office, "group", "add", f"g{number:02}", *members)

        assert len(parsed(office, "group", "list")) == 30


def test_lines_that_begin_a_message_are_quoted() -> None:
    """Or a message would be two; what was quoted is quoted again."""
    entry = mbox_entry(b"Subject: x\r\n\r\nFrom me\r\n>From you", "", NOON)

    assert entry == (
        b"From MAILER-DAEMON Mon May  4 12:00:00 2026\nSubject: x\n\n>From me\n>>From you\n\n"
    )

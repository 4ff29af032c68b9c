"""UTF8 and LANG; RFC 6856."""

import re

import pytest

from mailsvc import errors
from mailsvc.auth.guard import LoginGuard
from mailsvc.config.settings import LoginSettings, Pop3Settings, Settings, Utf8Headers
from mailsvc.config.units import Rate
from mailsvc.model.envelope import Client
from mailsvc.model.ids import AccountId
from mailsvc.pop3 import replies
from mailsvc.pop3.languages import LANGUAGES, Language, spoken
from mailsvc.pop3.visits import Visits
from tests.support.pop3_talk import PASSWORD, PostOffice, Talk

UTF8_HEADER = "Subject: 你好\r\n\r\nHello\r\n".encode()
UTF8_BODY = "Subject: Hello\r\n\r\n你好\r\n".encode()


def office_with(*bodies: bytes, headers: Utf8Headers = Utf8Headers.SEND) -> PostOffice:
    """Open one with mail for Alice and a user whose name is not ASCII."""
    office = PostOffice(Settings(pop3=Pop3Settings(utf8_headers=headers)), inline=30, chunk=20)
    office.add(b"alice", *bodies)
    office.add("用户".encode(), b"one\r\n")
    return office


def greeted(office: PostOffice) -> Talk:
    """Connect a client that has heard the greeting."""
    return office.connect().hears(b"+OK")


class TestUtf8:
    """RFC 6856 section 2."""

    def test_a_user_name_may_be_in_utf8(self) -> None:
        """``UTF8 USER`` in CAPA says so."""
        talk = greeted(office_with())
        assert b"UTF8 USER\r\n" in talk.asks(b"CAPA")
        talk.says(b"UTF8", "USER 用户".encode(), b"PASS " + PASSWORD, b"STAT")
        talk.hears(b"+OK UTF8 enabled", b"+OK", b"+OK", b"+OK 1 5")

    def test_it_belongs_before_the_login(self) -> None:
        """And takes no argument."""
        greeted(office_with()).says(b"UTF8 now").hears(b"-ERR these arguments")
        office_with().log_in().says(b"UTF8").hears(b"-ERR you are logged in")

    @pytest.mark.parametrize("headers", list(Utf8Headers))
    def test_who_says_it_gets_every_header(self, headers: Utf8Headers) -> None:
        """As it came."""
        talk = greeted(office_with(UTF8_HEADER, UTF8_HEADER * 2, headers=headers)).says(b"UTF8")
        talk.hears(b"+OK").says(b"USER alice", b"PASS " + PASSWORD).hears(b"+OK", b"+OK")
        assert talk.asks(b"RETR 1") == UTF8_HEADER
        assert talk.asks(b"RETR 2") == UTF8_HEADER * 2

    def test_others_get_it_too(self) -> None:
        """By default, as before there was such a mode: octet for octet."""
        assert office_with(UTF8_HEADER).log_in().asks(b"RETR 1") == UTF8_HEADER

    @pytest.mark.parametrize("command", [b"RETR 1", b"TOP 1 0", b"RETR 2", b"TOP 2 0"])
    def test_others_may_be_refused(self, command: bytes) -> None:
        """Setting ``pop3.utf8_headers: refuse``; the code tells the client what to do."""
        office = office_with(UTF8_HEADER, UTF8_HEADER * 2, headers=Utf8Headers.REFUSE)
        office.log_in().says(command, b"NOOP").hears(b"-ERR [UTF8] ", b"+OK")

    def test_a_body_in_utf8_is_nothing_new(self) -> None:
        """8BITMIME is older; nobody is refused for it."""
        office = office_with(UTF8_BODY, headers=Utf8Headers.REFUSE)
        assert office.log_in().asks(b"RETR 1") == UTF8_BODY


class TestLang:
    """RFC 6856 section 3."""

    def test_the_languages_are_listed(self) -> None:
        """Tag, and what its speakers call it."""
        talk = greeted(office_with()).says(b"LANG")
        assert talk.rest_of_list() == [
            b"en English",
            "zh 中文".encode(),
            b"i-default English, for everybody",
        ]

    def test_people_are_told_in_their_language(self) -> None:
        """The response code stays: programs read it."""
        talk = greeted(office_with()).says(b"LANG zh-CN")
        talk.hears_exactly("+OK zh 现在使用中文".encode())
        talk.says(b"USER alice", b"PASS wrong").hears_exactly("+OK 请发送密码".encode())
        talk.hears_exactly("-ERR [AUTH] 用户名或密码错误".encode())

    def test_the_old_language_comes_back(self) -> None:
        """``*`` is ours, and so is i-default; RFC 2277 section 4.5."""
        for tag, told in (
            (b"*", b"en"),
            (b"i-default", b"i-default"),
            (b"I-Default", b"i-default"),
        ):
            talk = greeted(office_with()).says(b"LANG zh", b"LANG " + tag, b"HELP")
            talk.hears(b"+OK zh", b"+OK " + told + b" I speak English", b"-ERR no such command")

    def test_an_unknown_language_changes_nothing(self) -> None:
        """The client goes on in the one that it has."""
        talk = greeted(office_with()).says(b"LANG zh", b"LANG uga", b"LANG \xff", b"HELP")
        talk.hears(b"+OK", "-ERR 没有这种语言".encode(), b"-ERR", "-ERR 没有这个命令".encode())

    def test_it_holds_after_the_login(self) -> None:
        """And long texts stay as they are."""
        office = office_with(UTF8_BODY * 40)
        talk = greeted(office).says(b"LANG zh", b"USER alice", b"PASS " + PASSWORD)
        talk.hears(b"+OK", b"+OK", "+OK 欢迎".encode())
        assert talk.asks(b"RETR 1") == UTF8_BODY * 40
        talk.says(b"TOP 1 0").hears("+OK 邮件开头如下".encode(), b"Subject: Hello", b"", b".")
        talk.says(b"LANG en", b"RETR 9").hears(b"+OK en", b"-ERR no such message")


@pytest.mark.parametrize("language", LANGUAGES[1:], ids=lambda language: language.tag)
class TestTexts:
    """The translations are whole."""

    def test_every_fixed_reply_has_one(self, language: Language) -> None:
        """But the greeting, which comes before a language is chosen, and last words."""
        fixed = {one for one in vars(replies).values() if isinstance(one, replies.Reply)}
        said = fixed - {replies.GREETING}
        missing = [reply.octets for reply in said if _text(reply.octets) not in language.texts]
        assert missing == []

    def test_so_has_every_error_of_a_login(self, language: Language) -> None:
        """And of the storage."""
        kinds = [
            errors.LoginFailed,
            errors.LoginForbidden,
            errors.ChannelBindingFailed,
            errors.BadResponse,
            errors.NotBase64,
            errors.TooManyFailures,
            errors.MaildropInUse,
            errors.LoginTooSoon,
            errors.StorageFailed,
            errors.StorageFull,
            errors.TooBusy,
            errors.MailError,
        ]
        assert [kind for kind in kinds if kind.text.encode() not in language.texts] == []

    @pytest.mark.parametrize("wait", [1, 30, 600])
    def test_so_has_every_wait(self, language: Language, wait: int) -> None:
        """With its number, in seconds or minutes."""
        client, visits = Client("192.0.2.7", 1), Visits(wait, lambda: 0.0)
        guard = LoginGuard(lambda: 0.0, LoginSettings(failures_per_client=Rate(1, wait)))
        guard.failed(client, None)
        visits.note(AccountId(1))

        with pytest.raises(errors.TooManyFailures) as held_up:
            guard.admit(client, "alice@test.com")
        with pytest.raises(errors.LoginTooSoon) as too_soon:
            visits.admit(AccountId(1))

        for error in (held_up.value, too_soon.value):
            english = replies.refusal(error)
            said = spoken(language, english).octets
            number = re.search(rb" ([0-9]+) [a-z]+\r\n", english.octets)
            assert number is not None
            assert number[1] in said
            assert not said.isascii()

    def test_a_line_is_no_longer_than_it_may_be(self, language: Language) -> None:
        """RFC 2449 section 4: 512 octets with the indicator, the code and CRLF."""
        assert all(len(text) < 480 for text in language.texts.values())
        assert not any(b"\n" in text or b"\r" in text for text in language.texts.values())


def _text(octets: bytes) -> bytes:
    text = octets.removesuffix(b"\r\n").partition(b" ")[2]
    return text.partition(b"] ")[2] if text.startswith(b"[") else text

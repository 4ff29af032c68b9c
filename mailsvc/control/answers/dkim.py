"""Answers about keys that sign mail."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.dkim import DkimAdd, DkimList, DkimRemove, DkimSwitch, DnsRecords
from mailsvc.model.dkim import DkimKey, NewDkimKey


async def add(asked: Asked) -> DkimKey:
    """Make a key."""
    return await asked.administration.dkim.add(build(NewDkimKey, asked.values), by=asked.by)


async def list_(asked: Asked) -> dict[str, object]:
    """List keys."""
    return {"keys": await asked.administration.dkim.list(asked.values.get("domain") or "")}


async def switch(asked: Asked) -> None:
    """Let a key sign, or not."""
    await asked.administration.dkim.switch(
        asked["domain"], asked["selector"], active=asked["active"], by=asked.by
    )


async def remove(asked: Asked) -> None:
    """Remove a key."""
    await asked.administration.dkim.remove(asked["domain"], asked["selector"], by=asked.by)


async def records(asked: Asked) -> dict[str, object]:
    """Tell what a domain publishes."""
    return {"records": await asked.administration.dkim.records(asked["domain"])}


ANSWERS: Answers = {
    DkimAdd: add,
    DkimList: list_,
    DkimRemove: remove,
    DkimSwitch: switch,
    DnsRecords: records,
}

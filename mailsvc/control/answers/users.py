"""Answers about accounts."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.users import (
    UserAdd,
    UserDelete,
    UserKeep,
    UserList,
    UserPassword,
    UserRename,
    UserRole,
    UserSet,
    UserShow,
    UserTurn,
)
from mailsvc.model.account import AccountFilter, AccountSummary
from mailsvc.model.page import Page
from mailsvc.model.user import NewLogin, NewUser, Turned, UserChange, UserSwitch


async def add(asked: Asked) -> NewLogin:
    """Make an account."""
    return await asked.administration.users.add(build(NewUser, asked.values), by=asked.by)


async def list_(asked: Asked) -> Page[AccountSummary]:
    """List accounts, as many as fit."""
    only = build(AccountFilter, asked.values)
    return await asked.administration.users.list(*asked.page, only)


async def password(asked: Asked) -> NewLogin:
    """Replace a password."""
    users = asked.administration.users
    return await users.set_password(asked["address"], asked["password"], by=asked.by)


async def keep(asked: Asked) -> dict[str, object]:
    """Say for how long an inbox keeps its mail."""
    users = asked.administration.users
    return {"address": await users.set_keep(asked["address"], asked["days"], by=asked.by)}


async def show(asked: Asked) -> AccountSummary:
    """Look one account up."""
    return await asked.administration.users.show(asked["address"])


async def set_(asked: Asked) -> dict[str, object]:
    """Change name, language or quotas."""
    users, change = asked.administration.users, build(UserChange, asked.values)
    return {"address": await users.set(change, by=asked.by)}


async def turn(asked: Asked) -> Turned:
    """Turn a switch."""
    return await asked.administration.users.switch(build(UserSwitch, asked.values), by=asked.by)


async def role(asked: Asked) -> dict[str, object]:
    """Make an administrator, or a user."""
    users = asked.administration.users
    return {"address": await users.set_role(asked["address"], asked["role"], by=asked.by)}


async def rename(asked: Asked) -> dict[str, object]:
    """Give another address."""
    users = asked.administration.users
    return {"address": await users.rename(asked["address"], asked["new"], by=asked.by)}


async def delete(asked: Asked) -> dict[str, object]:
    """Remove an account."""
    users = asked.administration.users
    return {"address": await users.delete(asked["address"], asked["holds"], by=asked.by)}


ANSWERS: Answers = {
    UserAdd: add,
    UserDelete: delete,
    UserKeep: keep,
    UserList: list_,
    UserPassword: password,
    UserRename: rename,
    UserRole: role,
    UserSet: set_,
    UserShow: show,
    UserTurn: turn,
}

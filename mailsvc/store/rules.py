"""The rules of administrators."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from mailsvc.errors import AlreadyThere, NotFound
from mailsvc.model.ids import IdSource
from mailsvc.model.rule import Action, Direction, NewRule, Rule, RuleKind
from mailsvc.store.tables import rule


def all_rules(conn: Connection) -> list[Rule]:
    """Give every rule, the oldest first."""
    return [_rule(row) for row in conn.execute(select(rule).order_by(rule.c.id))]


def list_rules(conn: Connection, after: int, most: int) -> list[Rule]:
    """List rules, the oldest first, a page at a time; *after* is the last one's number."""
    wanted = select(rule).where(rule.c.id > after).order_by(rule.c.id).limit(most)
    return [_rule(row) for row in conn.execute(wanted)]


def add_rule(conn: Connection, ids: IdSource, new: NewRule, kind: RuleKind, subject: str) -> Rule:
    """
    Add a rule.

    Args:
        subject: As it is stored.

    Raises:
        AlreadyThere: The very same rule is there.
    """
    same = select(rule.c.id).where(
        rule.c.kind == kind.value,
        rule.c.subject == subject,
        rule.c.action == new.action.value,
        rule.c.protocol == new.service,
        rule.c.direction == new.direction.value,
        rule.c.expires.is_(None) | (rule.c.expires > datetime.now(UTC)),
    )
    there = conn.scalar(same.limit(1))
    if there is not None:
        raise AlreadyThere(f"rule {there} says so already")
    number = ids.next()
    conn.execute(
        insert(rule).values(
            id=number,
            kind=kind.value,
            subject=subject,
            action=new.action.value,
            protocol=new.service,
            direction=new.direction.value,
            note=new.note,
            created=datetime.now(UTC),
            expires=_end(new.span),
        )
    )
    return _rule(conn.execute(select(rule).where(rule.c.id == number)).one())


def _end(span: timedelta | None) -> datetime | None:
    return None if span is None else datetime.now(UTC) + span


def remove_rule(conn: Connection, number: int) -> None:
    """
    Remove a rule.

    Raises:
        NotFound: There is none with this number.
    """
    if not conn.execute(delete(rule).where(rule.c.id == number)).rowcount:
        raise NotFound(f"there is no rule {number}; mailctl filter list shows them")


def _rule(row: Row[Any]) -> Rule:
    return Rule(
        number=row.id,
        kind=RuleKind(row.kind),
        subject=row.subject,
        action=Action(row.action),
        service=row.protocol,
        direction=Direction(row.direction),
        note=row.note,
        created=row.created,
        expires=row.expires,
    )

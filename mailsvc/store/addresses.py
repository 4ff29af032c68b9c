"""An address of ours belongs to one account, or to one alias or group."""

from sqlalchemy import Connection, select

from mailsvc.errors import AlreadyThere, NotFound
from mailsvc.model.address import Address
from mailsvc.model.ids import DomainId
from mailsvc.store.tables import account, alias, domain


def claim_address(conn: Connection, address: Address) -> DomainId:
    """
    Make sure that an address is free, and keep it so until the transaction ends.

    Whoever makes or renames an account, an alias or a group comes here first: the row of the
    domain is locked, so that two administrators cannot both take one address.

    Returns:
        Its domain.

    Raises:
        NotFound: Its domain is not ours.
        AlreadyThere: An account, an alias or a group has it.
    """
    number = conn.scalar(
        select(domain.c.id).where(domain.c.name == address.domain).with_for_update()
    )
    if number is None:
        raise NotFound(
            f"the domain {address.domain} is not one of ours; "
            f"make it first: mailctl domain add {address.domain}"
        )
    if conn.scalar(select(account.c.id).where(account.c.address_key == address.key)) is not None:
        raise AlreadyThere(f"the account {address} exists already")
    kind = conn.scalar(select(alias.c.kind).where(alias.c.address_key == address.key))
    if kind is not None:
        raise AlreadyThere(f"the {kind} {address} exists already")
    return DomainId(number)

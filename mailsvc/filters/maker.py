"""The announcement of a filter: its code is imported when a configuration names it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter, ValidationError
from zope.interface import implementer

from mailsvc.errors import ConfigError
from mailsvc.interfaces import IFilter, IFilterMaker


@implementer(IFilterMaker)
@dataclass(frozen=True)
class FilterMaker:
    """
    Announces a filter that is a frozen dataclass: its fields are its options.

    Args:
        name: How config.yaml calls it.
        module: Where it is; the module's ``make`` is the dataclass.
    """

    name: str
    module: str

    def make(self, options: Mapping[str, Any]) -> IFilter:
        """Check the options by the types of the dataclass, and make one."""
        kind: type[IFilter] = import_module(self.module).make
        known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a dataclass
        for option in options:
            if option not in known:
                raise ConfigError(
                    f"filters.{self.name}.{option}: there is no such option; "
                    f"the options are: {', '.join(known)}"
                )
        checked: TypeAdapter[IFilter] = TypeAdapter(kind)
        try:
            return checked.validate_python(dict(options))
        except ValidationError as error:
            mistake = error.errors()[0]
            place = ".".join(["filters", self.name, *(str(key) for key in mistake["loc"])])
            raise ConfigError(f"{place}: {mistake['input']!r}: {mistake['msg']}") from None

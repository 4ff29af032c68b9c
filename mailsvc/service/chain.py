"""Build the filter chain that config.yaml asks for."""

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.plugin import getPlugins

from mailsvc import plugins
from mailsvc.errors import ConfigError
from mailsvc.filters.chain import FilterChain
from mailsvc.interfaces import IFilterMaker


def build_chain(wanted: Mapping[str, Mapping[str, Any]], clock: IReactorTime) -> FilterChain:
    """
    Make every filter that config.yaml names.

    Args:
        wanted: Options by name, the ``filters`` section.
        clock: For filters that do not answer.

    Raises:
        ConfigError: There is no such filter, or an option is wrong.
    """
    makers = {maker.name: maker for maker in getPlugins(IFilterMaker, plugins)}
    made = {}
    for name, options in wanted.items():
        maker = makers.get(name)
        if maker is None:
            raise ConfigError(
                f"filters.{name}: there is no such filter; there are: {', '.join(sorted(makers))}"
            )
        made[name] = maker.make(options)
    return FilterChain(made, clock)

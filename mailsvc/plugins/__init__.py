"""
The folder where ``twisted.plugin`` looks for filters.

A package of your own adds to it with a folder ``mailsvc/plugins`` (without ``__init__.py``)
anywhere on the Python path.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []

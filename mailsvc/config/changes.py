"""
Settings that an administrator has changed, laid over config.yaml.

A change has the dotted path of a setting, such as ``smtp.largest_message``, and its value as
JSON says it. All of them together with the file are checked as one.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mailsvc.config.load import plain, validate
from mailsvc.config.settings import Settings
from mailsvc.errors import ConfigError

FIXED = frozenset({"state", "database", "control", "first_run"})
"""Sections that count at the start of the daemon only."""
_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")


def laid_over(file: Settings, changes: Mapping[str, Any]) -> Settings:
    """
    Give the settings of config.yaml with changes.

    Args:
        file: What config.yaml says.
        changes: Values by path.

    Raises:
        ConfigError: They do not fit; one line per mistake.
    """
    if not changes:
        return file
    tree = plain(file)
    # A section comes before what it holds.
    for path in sorted(changes):
        _put(tree, path, changes[path])
    settings = validate(tree)
    _check_paths(settings)
    return settings


def fitting(file: Settings, changes: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """
    Lay over what fits: config.yaml may have been edited since.

    Returns:
        The settings, and by path why a change is left out.
    """
    try:
        return laid_over(file, changes), {}
    except ConfigError:
        pass
    settings, kept, left_out = file, dict[str, Any](), dict[str, str]()
    for path in sorted(changes):
        try:
            settings = laid_over(file, {**kept, path: changes[path]})
        except ConfigError as error:
            left_out[path] = str(error)
        else:
            kept[path] = changes[path]
    return settings, left_out


def changed_path(path: str, settings: Settings) -> str:
    """
    Check that a path names something that may be changed while the daemon runs.

    Args:
        path: As typed.
        settings: Those in force: they know which sections there are.

    Raises:
        ConfigError: It does not.
    """
    first = path.split(".", maxsplit=1)[0]
    if first in FIXED:
        raise ConfigError(
            f"{path}: this counts at the start only; change it in config.yaml and start the"
            " daemon again"
        )
    tree = plain(settings)
    if first not in tree:
        raise ConfigError(f"{path}: there is no such setting; there are: {', '.join(tree)}")
    if path in tree and isinstance(tree[path], dict):
        raise ConfigError(f"{path}: this is a section; change one setting in it at a time")
    return path


def value_at(settings: Settings, path: str) -> Any:
    """
    Give one value, or a section, as JSON says it.

    Raises:
        ConfigError: There is no such setting.
    """
    found: Any = plain(settings)
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            raise ConfigError(f"{path}: there is no such setting; see: mailctl settings list")
        found = found[key]
    return found


def leaves(settings: Settings) -> dict[str, Any]:
    """Give each single setting by its path; passwords are stars."""
    return dict(_leaves("", plain(settings)))


def hidden(name: str, value: Any) -> Any:
    """Give a setting as it may be shown and written down: passwords are stars."""
    if isinstance(value, dict):
        return {key: hidden(key, inside) for key, inside in value.items()}
    if name.rpartition(".")[2] == "password" and value is not None:
        return "***"
    return _PASSWORD.sub(r"\1***@", value) if isinstance(value, str) else value


def is_below(path: str, section: str) -> bool:
    """Tell whether *path* is *section* or something in it."""
    return path == section or path.startswith(f"{section}.")


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inside in value.items():
            yield from _leaves(f"{path}.{key}" if path else key, inside)
    else:
        yield path, hidden(path, value)


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *sections, last = path.split(".")
    for key in sections:
        inside = tree.setdefault(key, {})
        if not isinstance(inside, dict):
            raise ConfigError(f"{path}: there is no such setting: {key} has no parts")
        tree = inside
    tree[last] = value


def _check_paths(settings: Settings) -> None:
    """Refuse paths that would begin nobody knows where."""
    named: list[tuple[str, Path | None]] = [("log.folder", settings.log.folder)]
    named += [(f"log.folders.{name}", path) for name, path in settings.log.folders.items()]
    for one in settings.tls.certificates:
        named += [("tls.certificates", one.certificate), ("tls.certificates", one.key)]
    for name, path in named:
        if path is not None and not path.is_absolute():
            raise ConfigError(f"{name}: {str(path)!r} is not possible: write the whole path")

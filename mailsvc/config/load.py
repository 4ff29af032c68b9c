"""Read ``config.yaml``; every mistake in it is told with its path, its value and the cure."""

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mailsvc.config.settings import Settings
from mailsvc.errors import ConfigError
from mailsvc.model.address import BadAddress, parse_domain

_ADAPTER = TypeAdapter(Settings)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice instead of dropping the first one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key "{key}" stands here a second time', key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> Settings:
    """
    Read the settings from a file; the database is not looked at.

    Args:
        path: The YAML file; relative paths inside it start at its folder.

    Raises:
        ConfigError: The file cannot be read or used; one line per mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; name your config.yaml with -c") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Settings:
    """
    Read the settings from YAML text.

    Args:
        text: The YAML.
        path: Where it came from, for messages and for relative paths.

    Raises:
        ConfigError: The text cannot be used; one line per mistake.
    """
    try:
        raw = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark
        where = f" line {at.line + 1}, column {at.column + 1}:" if at else ""
        raise ConfigError(f"{path}:{where} this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a value that YAML takes for a date, and that is none.
        raise ConfigError(f"{path}: this is not YAML: {error}") from None
    try:
        settings = validate({} if raw is None else raw)
    except ConfigError as error:
        lines = [f"{path}: {mistake}" for mistake in str(error).splitlines()]
        raise ConfigError("\n".join(lines)) from None
    try:
        return _absolute(settings, path.absolute().parent)
    except RuntimeError as error:
        raise ConfigError(f"{path}: a path begins with ~ and means nobody: {error}") from None


def parse_value(text: str) -> Any:
    """
    Read one value as config.yaml would; what is a sign of YAML alone is meant as it stands.

    Raises:
        ConfigError: It is not YAML.
    """
    if text.strip() in {"", "-", "="}:
        return text.strip()
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{text!r} is not YAML: {' '.join(str(error).split())}") from None


def validate(raw: Any) -> Settings:
    """
    Read the settings from what YAML gives; paths stay as they are.

    Raises:
        ConfigError: They cannot be used; one line per mistake, without a file's name.
    """
    try:
        settings = _ADAPTER.validate_python(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(mistake) for mistake in error.errors())) from None
    _check_sense(settings)
    return settings


def plain(settings: Settings) -> dict[str, Any]:
    """Write the settings as YAML and JSON have them; ``validate`` reads the same again."""
    written: dict[str, Any] = _ADAPTER.dump_python(settings, mode="json")
    return written


def _explain(mistake: ErrorDetails) -> str:
    """Turn one mistake into a sentence with its place, its value and what is allowed."""
    keys = [str(key) for key in mistake["loc"]]
    place = ".".join(keys) or "the file"
    match mistake["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{place}: there is no such setting{_perhaps(keys)}"
        case "missing":
            return f"{place}: this setting is missing"
        case "dataclass_type" | "dataclass_exact_type":
            return f"{place}: this is {mistake['input']!r}, but it must be a list of settings"
        case "tuple_type":
            return f"{place}: {mistake['input']!r} is not possible: it should be a list"
    allowed = mistake["msg"].removeprefix("Value error, ").replace("Input ", "it ", 1)
    return f"{place}: {mistake['input']!r} is not possible: {allowed}"


def _perhaps(keys: list[str]) -> str:
    """Suggest the setting that was probably meant."""
    section: Any = Settings()
    for key in keys[:-1]:
        section = section.get(key) if isinstance(section, dict) else getattr(section, key, None)
    known = list(getattr(section, "__dataclass_fields__", ()))
    close = get_close_matches(keys[-1], known, n=1)
    if close:
        meant = ".".join([*keys[:-1], close[0]])
        return f'; did you mean "{meant}"?'
    return f"; the settings here are: {', '.join(known)}" if known else ""


def _check_sense(settings: Settings) -> None:
    """Refuse what has the right type and cannot work."""
    mistakes: list[str] = []
    taken: dict[tuple[str, int], str] = {}
    for name, listener in settings.listeners.items():
        place = (listener.address, listener.port)
        if listener.port and place in taken:
            mistakes.append(
                f"listeners.{name}.port: {listener.port} is not possible: "
                f"the listener {taken[place]} has it already"
            )
        taken[place] = name
    for key, name in (
        ("hostname", settings.hostname or "localhost"),
        ("first_run.domain", settings.first_run.domain),
        *(("registration.domains", name) for name in settings.registration.domains),
    ):
        try:
            parse_domain(name, utf8=True)
        except BadAddress as error:
            mistakes.append(f"{key}: {name!r} is not possible: {error}")
    if settings.spool.total_memory < settings.spool.message_memory:
        mistakes.append(
            f"spool.total_memory: {settings.spool.total_memory} is not possible: "
            "it must not be below spool.message_memory"
        )
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _absolute(settings: Settings, folder: Path) -> Settings:
    """Start every relative path at the folder of the file."""
    control, log = settings.control, settings.log
    certificates = (
        replace(
            one,
            certificate=folder / one.certificate.expanduser(),
            key=folder / one.key.expanduser(),
        )
        for one in settings.tls.certificates
    )
    return replace(
        settings,
        state=folder / settings.state.expanduser(),
        control=replace(control, socket=_at(folder, control.socket)),
        log=replace(
            log,
            folder=_at(folder, log.folder),
            folders={name: folder / one.expanduser() for name, one in log.folders.items()},
        ),
        tls=replace(settings.tls, certificates=tuple(certificates)),
    )


def _at(folder: Path, path: Path | None) -> Path | None:
    return None if path is None else folder / path.expanduser()

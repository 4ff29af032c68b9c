"""``mailctl help``, ``manual`` and ``completion``: the same text in three shapes."""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from mailsvc.cli.output import Column, show_table
from mailsvc.cli.place import Doors, Place, examples

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_MAILCTL_COMPLETE"


def _complete_topic(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    from mailsvc.cli.manual import topics

    names = [one.name for one in topics()] + ["config"]
    group = ctx.find_root().command
    names += group.list_commands(ctx) if isinstance(group, click.Group) else []
    return [CompletionItem(name) for name in sorted({*names}) if name.startswith(begun)]


@click.command(
    "help", epilog=examples("mailctl help", "mailctl help filters", "mailctl help user import")
)
@click.argument("topic", nargs=-1, shell_complete=_complete_topic)
@click.pass_context
def help_(ctx: click.Context, topic: tuple[str, ...]) -> None:
    """
    Explain a TOPIC, or a command; alone, it lists the topics.

    "config" is the whole configuration with its comments.
    """
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)  # noqa: S101 - the program is one
    if not topic:
        _show_topics()
        return
    shown = [*_texts(root, root.command, topic)]
    if not shown:
        raise click.UsageError(
            f'there is no topic and no command {" ".join(topic)!r}; "mailctl help" lists them'
        )
    _show("\n\n".join(shown))


def _texts(root: click.Context, program: click.Group, topic: Sequence[str]) -> Iterator[str]:
    """Find what is said about a topic: the help of a command, a section of the manual."""
    from mailsvc.cli.manual import configuration, topics

    command: click.Command | None = program
    ctx = root
    for word in topic:
        command = command.get_command(ctx, word) if isinstance(command, click.Group) else None
        if command is None:
            break
        ctx = click.Context(command, info_name=word, parent=ctx)
    if command is not None:
        yield command.get_help(ctx)
    [name, *more] = topic
    if not more:
        yield from (_rendered(one.text) for one in topics() if one.name == name.lower())
        if name == "config":
            yield configuration()


def _show_topics() -> None:
    from mailsvc.cli.manual import topics

    click.echo('Topics; "mailctl help TOPIC" explains one, "mailctl COMMAND -h" a command.\n')
    rows = [[one.name, one.title] for one in topics()]
    show_table((Column("Topic"), Column("About")), [*rows, ["config", "Every setting"]])


def _rendered(text: str) -> str:
    """Write Markdown for a terminal; elsewhere as it is."""
    if not sys.stdout.isatty():
        return text
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    with console.capture() as caught:
        console.print(Markdown(text))
    return caught.get()


def _show(text: str) -> None:
    if sys.stdout.isatty():
        click.echo_via_pager(text + "\n")
    else:
        click.echo(text)


@click.command(epilog=examples("mailctl manual ~/.local/share/man", "man mailctl-user-add"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.pass_context
def manual(ctx: click.Context, folder: Path) -> None:
    """
    Write manual pages for man(1) into FOLDER.

    One for each command, mailsvc(7) with all topics, and mailsvc.yaml(5) with all settings.
    """
    root = ctx.find_root().command
    assert isinstance(root, click.Group)  # noqa: S101 - the program is one
    pages = dict(_pages(root))
    try:
        for name, text in pages.items():
            path = folder / f"man{name[-1]}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(f"Wrote {len(pages)} manual pages into {folder}. Read them with: man mailctl")


def _pages(program: click.Group) -> Iterator[tuple[str, str]]:
    from mailsvc.cli.manual import configuration, topics
    from mailsvc.cli.roff import command_page, markdown_page, text_page

    release = version("mailsvc")
    for path, command in every_command(("mailctl",), program):
        yield f"{'-'.join(path)}.1", command_page(path, command, release)
    texts = [one.text for one in topics()]
    yield "mailsvc.7", markdown_page("mailsvc", "a complete mail service", release, texts)
    about = "every setting of mailsvc"
    yield "mailsvc.yaml.5", text_page("mailsvc.yaml", 5, about, release, configuration())


def every_command(
    path: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give a command and all below it, each with its words."""
    yield path, command
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from every_command((*path, name), one)


@click.command(
    epilog=examples(
        "mailctl completion bash >> ~/.bashrc",
        "mailctl completion zsh >> ~/.zshrc",
        "mailctl completion fish > ~/.config/fish/completions/mailctl.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """
    Print what makes a shell complete commands, options, settings and addresses.

    Addresses are asked of the running daemon.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice has only known ones
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "mailctl", _VARIABLE).source())


class AddressText(click.ParamType[str]):
    """An address of an account, as typed; a shell offers those of the running daemon."""

    name = "text"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Give the accounts that begin so; nothing when the daemon does not answer."""
        del param
        found = _accounts(ctx.find_root(), incomplete)
        begun = incomplete.casefold()
        return [CompletionItem(one) for one in found if one.casefold().startswith(begun)]


class SettingText(click.ParamType[str]):
    """The name of a setting, as typed; a shell offers those that there are."""

    name = "text"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Give the settings that begin so."""
        del ctx, param
        from mailsvc.config.changes import leaves
        from mailsvc.config.settings import Settings

        return [CompletionItem(name) for name in leaves(Settings()) if name.startswith(incomplete)]


def _accounts(root: click.Context, begun: str) -> list[str]:
    from mailsvc.errors import OperatorError
    from mailsvc.model.account import AccountFilter

    options = root.params
    # From another machine each key would be a login.
    if options.get("host"):
        return []
    doors = root.obj if isinstance(root.obj, Doors) else Doors()
    place = Place(options["config"], options["socket"], doors)
    only = AccountFilter(text=begun)
    try:
        page = place.talk(lambda client: client.users.list("", _MOST, only))
    except OperatorError:
        return []
    return [one.address.shown for one in page.rows]


_MOST = 100
"""Addresses that a shell offers."""

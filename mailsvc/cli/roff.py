"""Manual pages: commands and Markdown as troff writes them; groff_man(7)."""

from collections.abc import Iterable, Iterator, Sequence

import click
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

_STRONG, _EM, _PLAIN = r"\fB", r"\fI", r"\fP"
_INLINE = {"strong": (_STRONG, _PLAIN), "em": (_EM, _PLAIN), "code_inline": (_STRONG, _PLAIN)}
"""What stands around emphasis."""


def escape(text: str) -> str:
    """Write text so that nothing in it commands troff."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(
        rf"\&{line}" if line.startswith((".", "'")) else line for line in plain.split("\n")
    )


def title(name: str, section: int, about: str, version: str) -> str:
    """Begin a page."""
    return "\n".join(
        (
            f'.TH "{name.upper()}" "{section}" "" "mailsvc {version}" "mailsvc"',
            ".SH NAME",
            rf"{escape(name)} \- {escape(about)}",
            "",
        )
    )


def command_page(path: Sequence[str], command: click.Command, version: str) -> str:
    """
    Write the page of a command.

    Args:
        path: Its words: ``("mailctl", "user", "add")``.
        command: The same.
        version: Of mailsvc.
    """
    names = ["-h", "--help"]
    context = click.Context(command, info_name=" ".join(path), help_option_names=names)
    about = command.get_short_help_str(limit=200).rstrip(".")
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [
        title("-".join(path), 1, about, version),
        ".SH SYNOPSIS",
        f"{_STRONG}{escape(' '.join(path))}{_PLAIN} {escape(usage)}",
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
        *_options(command, context),
        *_commands(command, context),
        *_examples(command.epilog or ""),
        ".SH SEE ALSO",
        ", ".join(f"{_STRONG}{escape(one)}{_PLAIN}({number})" for one, number in _also(path)),
    ]
    return "\n".join(parts) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield ".PP"
        yield escape(" ".join(paragraph.split()))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [one.get_help_record(context) for one in command.get_params(context)]
    yield from _pairs("OPTIONS", [one for one in records if one is not None and one[1]])


def _commands(command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        names = [
            (name, command.get_command(context, name)) for name in command.list_commands(context)
        ]
        records = [(name, one.get_short_help_str(limit=200)) for name, one in names if one]
        yield from _pairs("COMMANDS", records)


def _pairs(heading: str, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = list(pairs)
    if rows:
        yield f".SH {heading}"
    for term, text in rows:
        yield ".TP"
        yield f"{_STRONG}{escape(term)}{_PLAIN}"
        yield escape(text)


def _examples(epilog: str) -> Iterator[str]:
    lines = [line[2:] for line in epilog.splitlines() if line.startswith("  ")]
    if lines:
        yield ".SH EXAMPLES"
        yield from _verbatim(lines)


def _also(path: Sequence[str]) -> Iterator[tuple[str, int]]:
    for length in range(1, len(path)):
        yield "-".join(path[:length]), 1
    yield "mailsvc", 7
    yield "mailsvc.yaml", 5


def _verbatim(lines: Iterable[str]) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".nf", *map(escape, lines), ".fi", ".RE")


def text_page(name: str, section: int, about: str, version: str, text: str) -> str:
    """Write a page that is text as it stands."""
    lines = [title(name, section, about, version), ".SH DESCRIPTION", *_verbatim(text.split("\n"))]
    return "\n".join(lines) + "\n"


def markdown_page(name: str, about: str, version: str, texts: Iterable[str]) -> str:
    """Write a page of section 7 from Markdown."""
    parser = MarkdownIt("commonmark").enable("table")
    lines = [title(name, 7, about, version)]
    for text in texts:
        for node in SyntaxTreeNode(parser.parse(text)).children:
            lines += _block(node)
    return "\n".join(lines) + "\n"


def _block(node: SyntaxTreeNode) -> Iterator[str]:
    """Write one block; a row of a table is a term and what it means."""
    match node.type:
        case "heading":
            yield f".{'SS' if node.tag == 'h3' else 'SH'} {_text(node)}"
        case "paragraph":
            yield from (".PP", _text(node))
        case "fence" | "code_block":
            yield from _verbatim(node.content.rstrip("\n").split("\n"))
        case "bullet_list" | "ordered_list":
            for number, item in enumerate(node.children, 1):
                yield f'.IP "{number}." 4' if node.type == "ordered_list" else r".IP \(bu 3"
                yield from (_text(one) for one in item.children)
        case "table":
            for row in node.children[-1].children:
                term, *cells = (_text(cell) for cell in row.children)
                yield from (".TP", term, " ".join(cells) or r"\&")
        case _:
            yield from ()


def _text(node: SyntaxTreeNode) -> str:
    """Write what stands in lines, with its emphasis."""
    if node.type in _INLINE:
        begin, end = _INLINE[node.type]
        inside = "".join(map(_text, node.children)) or escape(node.content)
        return f"{begin}{inside}{end}"
    if node.type == "text":
        return escape(node.content)
    if node.type == "softbreak":
        return "\n"
    return "".join(map(_text, node.children))

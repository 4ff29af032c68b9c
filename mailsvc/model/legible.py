"""What strangers say, written so that people can read it and every database can keep it."""


def legible(octets: bytes) -> str:
    """
    Write octets as text, whatever they are: UTF-8 where they are that.

    What cannot be shown is written as its escape: octets that are no UTF-8, control characters
    that would move a terminal's cursor, and NUL, which PostgreSQL does not take.
    """
    return shown(octets.decode("utf-8", "backslashreplace"))


def shown(text: str) -> str:
    """Do the same with text."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)

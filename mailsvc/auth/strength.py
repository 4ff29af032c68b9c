"""How hard a password is to guess; zxcvbn (USENIX Security 2016)."""

from collections.abc import Sequence

LOOKED_AT = 72
"""Characters: what stands behind them makes a password no weaker, and long ones take long."""


def weakness(password: str, least: int, about: Sequence[str]) -> str:
    """
    Tell why a password is too easy to guess.

    Args:
        password: The one that somebody wants.
        least: The weakest that is good: 0, any, to 4, very hard to guess.
        about: What is known of him: name, address.

    Returns:
        What to do, in English; empty: it is good.
    """
    if least <= 0 or not password:
        return ""
    # Loads lists of words: 50 ms and 4 MiB that a daemon without registration need not pay.
    from zxcvbn import zxcvbn

    told = [part for text in about for part in text.replace("@", " ").split()]
    found = zxcvbn(password[:LOOKED_AT], user_inputs=[*about, *told])
    if found["score"] >= least:
        return ""
    feedback = found["feedback"]
    hints = [feedback["warning"], *feedback["suggestions"]]
    return " ".join(hint for hint in hints if hint) or "Add another word or two."

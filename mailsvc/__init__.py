"""A complete mail service: SMTP, POP3 and everything around them in one daemon."""

from importlib.metadata import version

__version__ = version("mailsvc")

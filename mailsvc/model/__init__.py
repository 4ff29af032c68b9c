"""Pure values: no I/O, no Twisted, no SQL."""

"""The POP3 front end: RFC 1939, with RFC 2449 and RFC 3206."""

"""The SMTP front end; RFC 5321, RFC 6409."""

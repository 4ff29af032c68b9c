"""What SMTP and POP3 share: lines, dots, time-outs and back-pressure on one connection."""

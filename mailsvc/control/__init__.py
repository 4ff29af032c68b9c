"""The control channel: AMP over a UNIX socket, for mailctl and for programs."""

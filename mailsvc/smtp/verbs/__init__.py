"""One function per verb: session and argument in, reply out."""

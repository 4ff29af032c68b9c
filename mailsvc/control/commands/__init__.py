"""The commands of the control channel, as both ends know them; a file for each topic."""

"""From the end of DATA to the commit."""

"""What an administrator can do; every front end calls the same functions."""

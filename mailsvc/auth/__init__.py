"""Who may come in: passwords, checkers, the realm."""

"""``mailctl``: the administrator's command line."""

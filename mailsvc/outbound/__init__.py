"""Mail that leaves for other servers."""

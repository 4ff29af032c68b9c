"""The tree of services: the only place that knows every part."""

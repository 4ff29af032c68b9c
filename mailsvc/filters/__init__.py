"""Filters: one file each, and the chain that asks them all."""

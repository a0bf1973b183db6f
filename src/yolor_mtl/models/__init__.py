"""Trunks and blocks: the shared representation. Knows no task."""

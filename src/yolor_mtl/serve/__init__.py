"""Answers over HTTP, and a page to see them."""

"""The HTML report of a run: curves, a table of scores, pictures."""

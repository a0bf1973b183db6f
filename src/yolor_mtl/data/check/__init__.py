"""Finds and names every defect of a data set, and writes a cleaned copy; the table of checks is in ``table``."""

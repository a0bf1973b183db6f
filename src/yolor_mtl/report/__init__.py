"""The HTML report: curves, tables, pictures. Gets plain data, knows no task."""

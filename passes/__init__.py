"""The passes: one pass, one file, and one explicit table from name to class (`table.py`)."""

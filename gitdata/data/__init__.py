"""Data: pointers, chains and the rule of what to do (pure), and the reading of rows from files."""

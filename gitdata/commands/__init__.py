"""Commands: one module per use case, the only place where data, storage and training meet.

A command computes and acts, and returns records; it does not print. `say` reports progress on stderr.
"""

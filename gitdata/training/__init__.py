"""Training: declarations, preprocessing, networks, the engine, methods, packages and the gate; handed arrays."""

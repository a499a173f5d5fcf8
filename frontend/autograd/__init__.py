"""Automatic differentiation: the tape, the engine that walks it back, modes and hooks."""

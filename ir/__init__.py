"""Intermediate representations: types, graph IR, loop IR, and the definitions of all ops."""

"""The public surface, generated from the definitions in `functions`: see generate.py."""

"""Parity with PyTorch, where it is installed."""

"""The definitions of the public functions on tensors, by topic."""

"""Loop IR: a small typed language of loop nests over strided buffers."""

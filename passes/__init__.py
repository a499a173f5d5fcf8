"""Graph to graph: one pass a file, and the pipeline that puts them in order.

A pass is a frozen dataclass whose fields are its options; see `smelt.passes.base`.
"""

"""Capture: the user's Python runs, its operations are recorded, compiled once, and run.

`recorder` meets every operation, `steps` finds the same program again, `build` makes its graph,
`segment` compiles and runs it, `replay` repeats it by references when data is at fault.
"""

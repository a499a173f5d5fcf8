"""Loop IR to machine code by way of LLVM IR text.

    module.emit_program(program, target) -> Emission        # object, LLVM IR, assembly
    module.compile_ir_text(text, target) -> bytes

`program` writes the entry, `kernels`, `outline`, `loops` and `statements` the kernels,
`expressions` and `memory` what is in them, `arithmetic` and below it `integers`, `floats`,
`conversions` and `vector_math` the scalar operations for any number of lanes.
"""

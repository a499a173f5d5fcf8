"""Loop IR to loop IR: tiles, vectors, threads, and the template of contractions.

    pipeline.schedule_kernel(kernel, target) -> Kernel
    contraction.contract(contraction, target, names) -> Contracted

`schedule_kernel` takes a kernel of serial loops as `codegen.lower` writes it and returns the one
to emit; it leaves alone the nests that are scheduled already, such as those of `contract`.

    product.Contraction(batch, m, n, k, left, right, accumulator, epilogue)
        batch, m, n, k: tuple[tuple[Var, int | Dim], ...]     axes of each group, outermost first
        left: Expr over batch, m and k variables              what the product's first factor is
        right: Expr over batch, n and k variables             and its second
        accumulator: DType                                    f32 for the half types
        epilogue: (point: Mapping[Expr, Expr], value: Expr) -> tuple[Stmt, ...]
            statements that store (and finish) one element; `point` maps the batch, m and n
            variables to indices; called more than once, so names that it binds must be fresh
"""

"""Loop IR to CUDA by way of Python source for `numba.cuda.jit`.

    emit.emit_kernel(kernel) -> CudaSource       # kernel bound by `codegen.schedule.cuda`
    build.build(source, kernel) -> CudaKernel    # callable; needs the `cuda` extra

Only `build` imports numba.
"""

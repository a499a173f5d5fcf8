"""Graph IR to loop IR: each fusion group to a kernel of serial loops, each graph to a program.

    program.lower(graph, target, input_layouts=…, donate=…) -> Program
    kernel.lower_group(region, strides, name, target) -> Lowered

`lower` gives every temporary memory of its own; `passes.memory_plan.plan_memory(program, donate)`
shares it, and `codegen.schedule` turns the serial loops into vector and parallel ones.
"""

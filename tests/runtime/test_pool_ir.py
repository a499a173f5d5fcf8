from __future__ import annotations

import platform

import pytest
from smelt.runtime import pool_ir
from smelt.runtime.elf import undefined_symbols

from tests.runtime.programs import support


@pytest.mark.parametrize(
    ("triple", "contained"),
    [
        ("x86_64-unknown-linux-gnu", ("rdtsc", "syscall")),
        ("aarch64-unknown-linux-gnu", ("cntvct_el0", "svc #0")),
        ("x86_64-apple-darwin23", ("rdtsc",)),
        ("arm64-apple-darwin23", ("cntvct_el0",)),
        ("x86_64-pc-windows-msvc", ("rdtsc",)),
    ],
)
def test_the_text_is_valid_for_each_platform(triple: str, contained: tuple[str, ...]) -> None:
    from llvmlite import binding as llvm

    llvm.initialize_native_asmparser()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    text = pool_ir.text(triple)
    module = llvm.parse_assembly(text)
    module.verify()
    for instruction in contained:
        assert instruction in text
    assert ("@futex" in text) == ("linux" in triple)
    # LLVM ends the process on inline assembly for which it has no parser: llvmlite has the host's.
    if triple.split("-")[0] == llvm.get_default_triple().split("-")[0]:
        machine = llvm.Target.from_triple(triple).create_target_machine(reloc="pic", opt=2)
        assembly = machine.emit_assembly(module)
        assert "memcpy" not in assembly and "memset" not in assembly


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match="no thread pool for 'riscv64'"):
        pool_ir.text("riscv64-unknown-linux-gnu")


@pytest.mark.skipif(platform.system() != "Linux", reason="reads an ELF object")
def test_the_object_needs_nothing() -> None:
    assert undefined_symbols(support()) == ()

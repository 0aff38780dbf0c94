"""BCC as a compiler: the programs' source on standard input, their byte code as JSON on standard output.

A program, so that no agent holds LLVM; and it imports nothing of ours, so that the host can run it in the userland's chroot for a kernel
that runs elsewhere (:mod:`harness.vm.bytecode`). :mod:`harness.trace.bytecode` loads what comes out.
"""

import base64
import ctypes
import json
import sys

_MODULE, _NAME, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
#: Functions of libbcc (``bcc/bpf_module.h``): what they return, what they take.
_FUNCTIONS = {
    "bpf_module_create_c_from_string": (_MODULE, (_NAME, ctypes.c_uint, ctypes.POINTER(_NAME), ctypes.c_int, ctypes.c_bool, _NAME)),
    "bpf_module_license": (_NAME, (_MODULE,)),
    "bpf_num_functions": (_SIZE, (_MODULE,)),
    "bpf_function_name": (_NAME, (_MODULE, _SIZE)),
    "bpf_function_start": (_MODULE, (_MODULE, _NAME)),
    "bpf_function_size": (_SIZE, (_MODULE, _NAME)),
    "bpf_num_tables": (_SIZE, (_MODULE,)),
    "bpf_table_name": (_NAME, (_MODULE, _SIZE)),
    "bpf_table_fd": (ctypes.c_int, (_MODULE, _NAME)),
    "bpf_table_type_id": (ctypes.c_int, (_MODULE, _SIZE)),
    "bpf_table_max_entries_id": (_SIZE, (_MODULE, _SIZE)),
    "bpf_table_flags_id": (ctypes.c_int, (_MODULE, _SIZE)),
    "bpf_table_key_size_id": (_SIZE, (_MODULE, _SIZE)),
    "bpf_table_leaf_size_id": (_SIZE, (_MODULE, _SIZE)),
}


def main() -> None:
    """Compile. What BCC says against a source is on standard error."""
    lib = ctypes.CDLL("libbcc.so.0")
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    module = lib.bpf_module_create_c_from_string(sys.stdin.buffer.read(), 0, None, 0, True, None)
    if not module:
        raise SystemExit("BCC does not compile the programs")
    functions = [lib.bpf_function_name(module, number) for number in range(lib.bpf_num_functions(module))]
    tables = [(number, lib.bpf_table_name(module, number)) for number in range(lib.bpf_num_tables(module))]
    json.dump({
        "license": lib.bpf_module_license(module).decode(),
        "programs": {name.decode(): base64.b64encode(_code(lib, module, name)).decode() for name in functions},
        "tables": {name.decode(): {
            "kind": lib.bpf_table_type_id(module, number), "key_bytes": lib.bpf_table_key_size_id(module, number),
            "value_bytes": lib.bpf_table_leaf_size_id(module, number), "entries": lib.bpf_table_max_entries_id(module, number),
            "flags": lib.bpf_table_flags_id(module, number), "mark": lib.bpf_table_fd(module, name),
        } for number, name in tables},
    }, sys.stdout)  # fmt: skip


def _code(lib: ctypes.CDLL, module: int, name: bytes) -> bytes:
    return ctypes.string_at(lib.bpf_function_start(module, name), lib.bpf_function_size(module, name))


if __name__ == "__main__":
    main()

"""Numbers of the kernel's enums that Python says again and that headers of the host may not have: the running kernel's BTF has them."""

from __future__ import annotations

import pytest

from harness.guest import bpf
from harness.guest.steps import conntrack
from harness.outcome import KernelProfile
from harness.pytest_plugin.kernel import RunningKernel
from harness.trace.btf import Btf


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.of_running_kernel()


@pytest.fixture
def profile(kernel: RunningKernel) -> KernelProfile:
    return kernel.profile


def test_a_program_that_is_a_hook_has_the_kernels_numbers(btf: Btf, profile: KernelProfile) -> None:
    if not profile.bpf_link:
        pytest.skip("this kernel has no such programs")
    assert btf.enumerators("bpf_prog_type")[bpf._PROG_TYPE_NETFILTER] == "BPF_PROG_TYPE_NETFILTER"
    assert btf.enumerators("bpf_attach_type")[bpf._ATTACH_NETFILTER] == "BPF_NETFILTER"
    assert btf.enumerators("bpf_cmd")[bpf._LINK_CREATE] == "BPF_LINK_CREATE"


def test_what_a_packet_is_to_its_connection_has_the_kernels_numbers(btf: Btf) -> None:
    numbers = btf.enumerators("ip_conntrack_info")
    assert {number: numbers[number].removeprefix("IP_CT_") for number in conntrack._INFO} == conntrack._INFO

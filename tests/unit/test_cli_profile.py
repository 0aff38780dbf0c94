"""``nfharness profile``: every field with what it means, and what differs between kernels."""

from __future__ import annotations

import errno
from dataclasses import fields

from harness.cli.profile import rows
from harness.netfilter import Family
from harness.outcome import KernelProfile

OLD = KernelProfile(release="5.10", families=(Family.INET, Family.IPV4), stolen_errno=False, netdev_egress_errno=errno.EOPNOTSUPP)
NEW = KernelProfile(release="6.12", families=(Family.INET, Family.IPV4))


def test_every_field_says_what_it_means_and_how_it_is_probed() -> None:
    assert [one.name for one in fields(KernelProfile) if not (one.metadata.get("means") and one.metadata.get("how"))] == []


def test_every_field_but_the_release_has_a_row() -> None:
    assert [row.name for row in rows([NEW])] == [one.name for one in fields(KernelProfile) if one.name != "release"]


def test_a_field_differs_where_two_kernels_do() -> None:
    differing = {row.name for row in rows([NEW, OLD, NEW]) if row.differs}
    assert differing == {"stolen_errno", "netdev_egress_errno"}
    assert not any(row.differs for row in rows([NEW, NEW]))


def test_values_are_words() -> None:
    shown = {row.name: list(row.cells()) for row in rows([OLD, NEW])}
    assert shown["stolen_errno"] == ["no", "yes"]
    assert shown["netdev_egress_errno"] == ["EOPNOTSUPP", "EINVAL"]
    assert shown["families"] == ["INET IPV4", "INET IPV4"]

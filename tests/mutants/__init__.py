"""Wrong hook cores: patches of the model, each with the rules that it breaks; a module for each of their concerns."""

from __future__ import annotations

from tests.mutants import (
    batches,
    bpf,
    churn,
    hooks,
    layers,
    memory,
    namespaces,
    packets,
    pieces,
    queue,
    raw,
    replaced,
    settings,
    tracking,
    verdicts,
)
from tests.mutants.mutant import Mutant

__all__ = ("MUTANTS", "Mutant")

MUTANTS: dict[str, Mutant] = {
    **hooks.MUTANTS, **batches.MUTANTS, **bpf.MUTANTS, **verdicts.MUTANTS, **packets.MUTANTS, **layers.MUTANTS,
    **pieces.MUTANTS, **raw.MUTANTS, **memory.MUTANTS, **namespaces.MUTANTS, **churn.MUTANTS, **tracking.MUTANTS, **queue.MUTANTS,
    **replaced.MUTANTS, **settings.MUTANTS,
}

"""Wrong hook cores: patches of the model, each with the rules that it breaks; a module for each of their concerns."""

from __future__ import annotations

from tests.mutants import batches, bpf, churn, ground, hooks, layers, memory, packets, pieces, private, queue, tracking, verdicts
from tests.mutants.mutant import Mutant

__all__ = ("MUTANTS", "Mutant")

MUTANTS: dict[str, Mutant] = {
    **hooks.MUTANTS, **batches.MUTANTS, **bpf.MUTANTS, **verdicts.MUTANTS, **packets.MUTANTS, **layers.MUTANTS,
    **pieces.MUTANTS, **private.MUTANTS, **memory.MUTANTS, **ground.MUTANTS, **churn.MUTANTS, **tracking.MUTANTS, **queue.MUTANTS,
}

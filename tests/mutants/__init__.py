"""Wrong hook cores: patches of the model, each with the rules that it breaks; a module for each of their concerns."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from tests.mutants.mutant import Mutant, collected

__all__ = ("MUTANTS", "Mutant")

_MODULES = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
            if found.name != "mutant" and not found.ispkg]

#: Every mutant by its name: those of each module here but ``mutant``.
MUTANTS: dict[str, Mutant] = collected(item for module in _MODULES for item in module.MUTANTS.items())

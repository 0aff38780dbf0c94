"""Everywhere: tests under ``kernel/`` run inside guests."""

from __future__ import annotations

from harness.pytest_plugin.host import pytest_addoption, pytest_configure

__all__ = ("pytest_addoption", "pytest_configure")

"""What one process's pytest sends to another's, in the form that execnet carries: plain values, and text that is UTF-8."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

__all__ = ("Carrier", "plain")

_DEPTH, _SIMPLE = 16, (type(None), bool, float, bytes)
#: execnet takes negative numbers of 32 bits only.
_LEAST, _LARGEST = -(1 << 31), 1 << 63


class Carrier:
    """Hooks of a process whose reports go to another one. A test may put anything into them."""

    def __init__(self, config: pytest.Config) -> None:
        for plugin in config.pluginmanager.get_plugins():
            if type(plugin).__name__ == "WorkerInteractor":
                plugin.channel = _PlainChannel(plugin.channel)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Make a warning's arguments plain: xdist tries whether execnet takes them, and takes one error only for a no."""
        if isinstance(warning_message.message, Warning):
            warning_message.message.args = plain(warning_message.message.args)


class _PlainChannel:
    """An execnet channel that sends what is plain of everything."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def send(self, item: object) -> None:
        self._channel.send(plain(item))


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """A value as execnet can carry it: lone surrogates as escapes, and what is no plain value as its ``repr()``."""
    if isinstance(value, str):
        return str.encode(value, "utf-8", "backslashreplace").decode()
    if type(value) in _SIMPLE or (type(value) is int and _LEAST <= value < _LARGEST):
        return value
    if depth and type(value) in (list, tuple, set, frozenset):
        return type(value)(plain(one, depth - 1) for one in value)
    if depth and isinstance(value, dict):
        return {plain(key, 0): plain(one, depth - 1) for key, one in value.items()}
    try:
        return plain(repr(value))
    except BaseException as error:
        return f"<{type(value).__name__} whose repr() raises {type(error).__name__}>"

"""What would end a guest's pytest instead of one test: KeyboardInterrupt, ``pytest.exit()``, a forked child that comes back, a closed
standard stream."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Generator

import pytest

from harness.pytest_plugin.guest.streams import reopened
from harness.pytest_plugin.selection import EXIT

__all__ = ("Escapes", "Innermost", "unshown")


class Escapes:
    """Hooks around each phase of a test.

    :param spoil: takes a reason why the guest is not fit for another test
    """

    def __init__(self, spoil: Callable[[str], None]) -> None:
        self._spoil = spoil
        self._pid = os.getpid()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Look at what a fixture does."""
        return (yield from self._held(item))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Look at what the test itself does."""
        return (yield from self._held(item))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """A fixture's. pytest goes on after an Exception; after anything else the fixtures that were left are not torn down."""
        try:
            return (yield from self._held(item))
        except _Escaped as error:
            self._spoil(f"{type(error).__name__} ended the teardown")
            raise
        except (Exception, pytest.fail.Exception, pytest.skip.Exception):
            raise
        except BaseException as error:
            self._spoil(f"{type(error).__name__} ended the teardown")
            raise

    def _held(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            if isinstance(error, pytest.exit.Exception):
                item.user_properties.append((EXIT, str(error)))
            raise _named(error).with_traceback(error.__traceback__) from None
        finally:
            _end_child(self._pid, item)


class Innermost:
    """Hooks around each phase of a test, within pytest's own: what is written there is in the test's report.

    :param told: takes what the test did to a standard stream
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._pid = os.getpid()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Look at what a fixture does."""
        return (yield from self._held(item))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Look at what the test itself does."""
        return (yield from self._held(item))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Look at what a fixture does."""
        return (yield from self._held(item))

    def _held(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            _end_child(self._pid, item)
            for name in reopened(item.config):
                self._told(f"the test closed {name}")


def _end_child(pid: int, item: pytest.Item) -> None:
    """End this process if it is a child that the test forked: the tests that follow are its parent's.

    :param pid: the worker's
    :param item: shows what failed in the child
    """
    if os.getpid() == pid:
        return
    try:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, SystemExit):
            # Not sys.stderr, which may be a child's own copy.
            os.write(2, f"in the forked process {os.getpid()}:\n{_shown(item)}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(1)


def _shown(item: pytest.Item) -> str:
    """The exception that is being handled, as pytest shows it."""
    try:
        return str(item.repr_failure(pytest.ExceptionInfo.from_current()))
    except BaseException:
        return traceback.format_exc()


class _Escaped(Exception):
    """A failure of the test, where pytest would have ended."""


def _named(error: BaseException) -> Exception:
    """An exception that is shown like *error*, and is no reason for pytest to end."""
    kind: type[_Escaped] = type(type(error).__name__, (_Escaped,), {"__module__": "builtins"})
    return kind(*error.args)


def unshown(item: pytest.Item, call: pytest.CallInfo[None], error: BaseException) -> pytest.TestReport:
    """The report of a phase that pytest itself could not make one of."""
    said = "" if call.excinfo is None else f": {call.excinfo.typename}, which cannot be shown"
    text = f"{type(error).__name__} while its report was made{said}"
    assert call.when != "collect"  # noqa: S101
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", text, call.when, [], call.duration, call.start, call.stop,
                             item.user_properties)

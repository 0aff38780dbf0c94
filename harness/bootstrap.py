"""From a bare checkout to the command line. Standard library only.

Installs what the host lacks, makes ``.venv`` from the lock file, and hands over to it. Once that is done it costs a few milliseconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from harness.cli.signals import hold, interruptible
from harness.printable import printable_line

__all__ = ("run",)

_ROOT = Path(__file__).resolve().parent.parent
_VENV = _ROOT / ".venv"
_STAMP = _VENV / "nfharness.stamp"
_WITHOUT_PACKAGES = {"doctor", "--help", "-h", "--version", "--completion", "kernels", "help"}
#: How backends begin that make no guest: this machine, and a box.
_NO_GUESTS = ("local", "ssh=")
_CANNOT = 125


def _say(text: str) -> None:
    print(printable_line(f"nfharness: {text}"), file=sys.stderr, flush=True)


def _give_up(message: str, hint: str) -> NoReturn:
    _say(f"error: {message}")
    print(printable_line(f"  hint: {hint}"), file=sys.stderr)
    raise SystemExit(_CANNOT)


def _stamp() -> str:
    """What ``.venv`` was made from."""
    digest = hashlib.sha256((_ROOT / "requirements.lock").read_bytes() + (_ROOT / "pyproject.toml").read_bytes())
    return f"{digest.hexdigest()} {_VENV} {sys.version_info[:2]}\n"


def _install_packages(packages: list[str]) -> None:
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if not shutil.which("apt-get"):
        _give_up(f"this host lacks {', '.join(packages)} and has no apt-get", "use Debian 12 or later, or Ubuntu 24.04 or later")
    if os.geteuid() != 0:
        command = ["sudo", *command]
        interactive = sys.stdin.isatty()
        unasked = ["sudo", "-n", "true"]
        if not shutil.which("sudo") or not (interactive or subprocess.run(unasked, capture_output=True, check=False).returncode == 0):
            _give_up(f"this host lacks {', '.join(packages)}", f"sudo apt-get install {' '.join(packages)}")
        _say(f"this host lacks {', '.join(packages)}; about to run, with your leave as sudo asks for it:")
        _say(f"  {shlex.join(command)}")
    else:
        _say(f"installing {', '.join(packages)}")
    sudo = command[: command.index("apt-get")]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    options = ["-q", "-o", "DPkg::Lock::Timeout=300"]
    for step in ([*sudo, "apt-get", *options, "update"], [*sudo, "apt-get", *options, *command[len(sudo) + 1 :]]):
        done = subprocess.run(step, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stdout.splitlines() if line.startswith(("E:", "Err:"))] or done.stdout.splitlines()
            if "update" in step:
                continue  # a broken third-party source need not matter; the install says whether it does
            hint = f"put that right, or install by hand: {shlex.join(command)}"
            _give_up(f"{shlex.join(step)} failed: {(said or ['no output'])[-1]}", hint)


def _make_venv() -> None:
    """Make ``.venv`` under a lock: of two starts at once one makes it, and a killed one's remains are made anew."""
    if any(character < " " for character in str(_ROOT)):
        _give_up(f"the checkout's path has a control character: {str(_ROOT)!r}", "move the checkout to another directory")
    try:
        lock_file = (_ROOT / ".venv.lock").open("w")
    except OSError as error:
        _give_up(f"{_ROOT} cannot be written: {error.strerror}", "use a checkout of your own, or 'pip install' it")
    with lock_file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another start to finish .venv")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_ready():
            return
        _look_at_link()
        from harness.requirements import found_no_network, known_hint  # noqa: PLC0415 - not before the version of Python is known to do

        _say("making .venv from requirements.lock")
        python = str(_VENV / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        steps = (
            [sys.executable, "-m", "venv", "--clear", str(_VENV)],
            [*pip, "--require-hashes", "-r", str(_ROOT / "requirements.lock")],
            [*pip, "--no-deps", "--no-build-isolation", "--editable", "."],
        )
        # The kernel ends pip with us, however we end.
        bound = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        for step in steps:
            done = subprocess.run([*bound, *step], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=_ROOT)
            if done.returncode:
                said = done.stdout
                lines = [line for line in said.splitlines() if "ERROR" in line or "Errno" in line] or said.splitlines()
                hint = known_hint(said) or ("check the network" if found_no_network(said) else f"see more with: {shlex.join(step)}")
                _give_up(f"making .venv failed: {(lines or ['no output'])[-1]}", f"{hint}; then start again")
        new = _STAMP.with_suffix(".new")
        new.write_text(_stamp(), encoding="utf-8", errors="surrogateescape")
        new.replace(_STAMP)


def _look_at_link() -> None:
    """Give up if ``.venv`` is a link to a directory with something in it that was not made for this checkout: it would be emptied."""
    if not _VENV.is_symlink() or not _VENV.is_dir():
        return
    try:
        made_for = _STAMP.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        made_for = ""
    if f" {_VENV} " not in made_for and any(_VENV.iterdir()):
        _give_up(f"{_VENV} is a link to {_VENV.resolve()}, which was not made for this checkout",
                 f"remove the link: rm {shlex.quote(str(_VENV))}; a .venv of the checkout's is made then")


def _is_ready() -> bool:
    try:
        return _STAMP.read_text(encoding="utf-8", errors="surrogateescape") == _stamp()
    except OSError:
        return False


def _look_for_packages() -> None:
    """Give up if ``.venv``, which was not finished, lacks a package that the commands import."""
    try:
        import harness.cli.commands  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        _give_up(f"{_VENV} lacks {error.name}", "python3 -m harness, with a Python that is not of .venv, makes it anew")


def _makes_guests(arguments: list[str]) -> bool:
    """Whether a command may need what guests are made with."""
    options = arguments[:arguments.index("--")] if "--" in arguments else arguments
    backends = [word[len("--backend="):] for word in options if word.startswith("--backend=")]
    backends += [value for word, value in zip(options, options[1:]) if word == "--backend"]  # noqa: B905, RUF007 - any Python parses this
    return bool(options) and options[0] not in _WITHOUT_PACKAGES and not any(one.startswith(_NO_GUESTS) for one in backends)


def main() -> None:
    """Set up as far as needed, then become the command line."""
    if sys.version_info < (3, 11):  # noqa: UP036 - that is what is being told
        _give_up(f"Python {sys.version.split()[0]} is too old", "start it with Python 3.11 or later, as in python3.11 -m harness")
    # A pytest that runs in another Python than .venv's starts our command line in its own.
    if not (_ROOT / "requirements.lock").exists() or Path(sys.prefix) == _VENV or "nfharness-ready" in sys._xoptions:
        if Path(sys.prefix) == _VENV and not _is_ready():
            _look_for_packages()
        from harness.cli import main as cli  # noqa: PLC0415 - an installed package has all it needs

        cli()
        return
    from harness.requirements import missing_packages, requirements  # noqa: PLC0415

    arguments = sys.argv[1:]
    lacking = missing_packages(requirements())
    if not _makes_guests(arguments):
        lacking = [package for package in lacking if package == "python3-venv" and not _is_ready()]
    if lacking:
        _install_packages(lacking)
    if not _is_ready():
        _make_venv()
    hold()  # what comes before the next Python can heed it waits
    os.execv(_VENV / "bin" / "python", [str(_VENV / "bin" / "python"), "-m", "harness", *arguments])  # noqa: S606


def run() -> None:
    """``python3 -m harness``."""
    try:
        interruptible()
        main()
    except KeyboardInterrupt as error:
        _say(str(error) or "interrupted")
        raise SystemExit(getattr(error, "exit_code", 130)) from None
    except Exception as error:
        from harness.cli import status_of  # noqa: PLC0415

        raise SystemExit(status_of(error)) from None

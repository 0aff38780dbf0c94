"""Workers on another machine: xdist's ssh gateways, over OpenSSH's own client and server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.host.paths import cache_dir
from harness.images import kernels

pytestmark = pytest.mark.slow

KERNEL = kernels.DEFAULT
_SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@pytest.fixture
def farm(tmp_path: Path) -> Path:
    """ssh's configuration for the host ``farm``: an sshd in a separate network namespace, with nothing of our environment."""
    if not (_SSHD and shutil.which("ssh")):
        pytest.skip("openssh-server is not installed" if shutil.which("ssh") else "openssh-client is not installed")
    if os.geteuid() != 0:
        pytest.skip("a host in a network namespace needs root")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    far = tmp_path / "far"
    far.mkdir()
    (tmp_path / "sshd_config").write_text(f"""HostKey {tmp_path}/host
AuthorizedKeysFile {tmp_path}/user.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
SetEnv NFHARNESS_CACHE={cache_dir()} NFHARNESS_STATE={far} PATH=/usr/sbin:/usr/bin:/sbin:/bin
""")
    # sshd demands a directory that Debian makes when it starts the service.
    server = f"mount -t tmpfs run /run && mkdir /run/sshd && exec {_SSHD} -i -e -f {tmp_path}/sshd_config 2>>{tmp_path}/sshd.log"
    (tmp_path / "ssh_config").write_text(f"""Host farm
ProxyCommand env -i unshare --net --mount sh -c '{server}'
User root
IdentityFile {tmp_path}/user
IdentitiesOnly yes
BatchMode yes
UserKnownHostsFile {tmp_path}/known
StrictHostKeyChecking accept-new
""")
    return tmp_path / "ssh_config"


@pytest.mark.usefixtures("ready")
def test_workers_on_another_machine_are_xdists_ssh_gateways(farm: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "pytest.ini").write_text("[pytest]\n")
    (suite / "test_it.py").write_text("""import os, socket
import pytest

@pytest.mark.kernel
@pytest.mark.parametrize("number", range(4))
def test_in_a_guest(number):
    assert socket.gethostname() == "guest"

def test_on_the_host():
    assert "SSH_CONNECTION" in os.environ
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
""")
    remote = f"2*ssh=farm//ssh_config={farm}//python={sys.executable}//chdir={tmp_path}/far/run"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--kernel", KERNEL, "--dist", "load",
               f"--rsyncdir={suite}", "--tx", remote, "--report-jsonl", "out.jsonl", str(suite)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    said = (tmp_path / "sshd.log").read_text()
    assert done.returncode == 0, done.stdout + done.stderr + said
    assert "Accepted publickey for root" in said
    assert (tmp_path / "far/run/suite/test_it.py").exists()
    results = [one for line in (tmp_path / "out.jsonl").read_text().splitlines() if "test" in (one := json.loads(line))]
    assert sorted((one["kernel"], one["outcome"]) for one in results) == [(KERNEL, "passed")] * 4 + [("host", "passed")]

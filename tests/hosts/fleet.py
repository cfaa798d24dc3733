"""Machines with a real sshd each, in network namespaces, with a file tree of their own.

What is deployed, prepared and logged is below a machine's own directory, and of the kernel's
settings only those of its own namespace are touched. One more host is where `make` is typed.
"""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from tests.integration.terminals import Terminal
from tests.net.network import Host, Network
from tests.servers import ROOT, Process, require, wait_for

SSHD = """
ListenAddress {address}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
SetEnv TMPDIR={temporary} XDG_RUNTIME_DIR={temporary} PATH={path} PROMPT_TOOLKIT_NO_CPR=1
"""

ON_ITS_OWN = 'umask 077; mount --bind "$0" /etc && exec "$@"'
"""Starts sshd where a machine's own /etc is /etc; for root alone, as where root is careful."""


class Fleet:
    """A master, its nodes, and the place from which they are deployed to.

    With `own_users` each machine has an /etc of its own, so that users can be made there, and a
    home of root that nobody else can enter.
    """

    def __init__(
        self, net: Network, nodes: list[str], release: Path, *, own_users: bool = False
    ) -> None:
        self.net = net
        self.own_users = own_users
        self.release = release
        self.desk = net.host("desk")
        self.machines = [net.host("master"), *(net.host(name) for name in nodes)]
        self.key = self.desk.directory / "id"
        self.inventory = self.desk.directory / "hosts.ini"
        self.extra: dict[str, str] = {}
        self.user = "root"
        self.master_loads = False
        self.daemons: dict[str, Process] = {}
        _keygen(self.key)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd wants to shut itself in
        for host in self.machines:
            self.start_sshd(host)
        self.write()

    def start_sshd(self, host: Host) -> None:
        """Start a machine's sshd, which lets the desk's key in."""
        directory = host.directory
        if not (directory / "host_key").exists():
            _keygen(directory / "host_key")
            self.let_in(host, self.key.with_suffix(".pub").read_text())
        config = directory / "sshd_config"
        python = f"{Path(sys.executable).resolve().parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        config.write_text(
            SSHD.format(
                address=host.address,
                directory=directory,
                temporary=host.temporary,
                path=python,
            )
        )
        sshd = require("sshd", "openssh-server")
        command = [sshd, "-D", "-e", "-f", config]
        if self.own_users:
            command = ["sh", "-c", ON_ITS_OWN, self.etc_of(host), *command]
        process = host.start(command)
        process.expect("Server listening")
        self.daemons[host.name] = process

    def etc_of(self, host: Host) -> Path:
        """Return what is /etc on a machine with users of its own; at first it is a copy of ours."""
        etc = host.directory / "its-etc"
        if not etc.exists():
            shutil.copytree(
                "/etc", etc, symlinks=True, ignore=lambda *_: {"netns", "shadow-", "ssl"}
            )
            home = host.directory / "root"
            home.mkdir(mode=0o700)
            users = (etc / "passwd").read_text()
            users = re.sub(r"^(root:.*):[^:]*:([^:]*)$", rf"\1:{home}:\2", users, flags=re.M)
            (etc / "passwd").write_text(users)
            host.temporary.chmod(0o1777)
        return etc

    def uid(self, host: Host, name: str) -> int:
        """Return the number of a user whom a machine of its own users knows."""
        users = (self.etc_of(host) / "passwd").read_text()
        found = re.search(rf"^{name}:[^:]*:(\d+):", users, re.MULTILINE)
        assert found is not None, users
        return int(found[1])

    def restart_sshd(self, host: Host) -> None:
        """Have a machine's sshd see what is mounted now."""
        self.daemons[host.name].stop()
        self.start_sshd(host)

    def let_in(self, host: Host, public_key: str) -> None:
        """Have a machine's sshd accept this key and no other."""
        (host.directory / "authorized_keys").write_text(public_key)

    def write(self) -> None:
        """Write hosts.ini; `extra` has more variables for a machine.

        The master is a node as well where `master_loads` says so.
        """
        lines = [self._line(host) for host in self.machines]
        nodes = lines if self.master_loads else lines[1:]
        known = self.desk.directory / "known_hosts"
        self.inventory.write_text(
            "\n".join(
                [
                    *("[amoc-master]", lines[0], "[amoc-nodes]", *nodes, "[amoc:vars]"),
                    "ansible_user=root",
                    f"ansible_ssh_private_key_file={self.key}",
                    f"ansible_ssh_common_args=-F none -o UserKnownHostsFile={known}",
                    f"amoc_user={self.user}",
                    "amoc_keep_sysctls=fs. net.core.",  # the whole machine's
                    "amoc_workers=1\n",
                ]
            )
        )

    def _line(self, host: Host) -> str:
        directory = host.directory
        return (
            f"{host.name} ansible_host={host.address} amoc_install_dir={directory}/opt "
            f"amoc_home={host.home} amoc_etc={directory}/etc {self.extra.get(host.name, '')}"
        )

    def make(self, *words: str, patience: float = 180, text: str = "") -> tuple[int, str]:
        """Type `make WORDS` at the desk; return the exit code and what it said."""
        command = self._made(*words)
        typed = self.desk.directory / "typed"
        typed.write_text(text)
        shell = f"exec {shlex.join(command)} <{shlex.quote(str(typed))}"
        process = self.desk.start(["sh", "-c", shell])
        return process.wait(patience), process.said()

    def _made(self, *words: str) -> list[str]:
        variables = [f"HOSTS={self.inventory}", f"RELEASE={self.release}"]
        return ["make", "--no-print-directory", "-C", str(ROOT), *variables, *words]

    def terminal(self, *words: str) -> Terminal:
        """Type `make WORDS` at a terminal of the desk."""
        command = ["ip", "netns", "exec", self.desk.namespace, *self._made(*words)]
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return Terminal({**os.environ, **self.desk.environment(), "PATH": path}, command=command)

    def good(self, *words: str, text: str = "") -> str:
        """Type what succeeds; return what it said."""
        code, said = self.make(*words, text=text)
        assert code == 0, said
        return said

    def lines(self, said: str) -> dict[str, str]:
        """Return what was said of each machine, by its name."""
        names = {host.name for host in self.machines}
        rows = (line.partition(" ") for line in said.split("\n\n", maxsplit=1)[0].splitlines())
        return {name: rest.strip() for name, _, rest in rows if name in names}

    def sysctl(self, host: Host, name: str) -> str:
        """Return a kernel setting of a machine."""
        process = host.start(["cat", f"/proc/sys/{name.replace('.', '/')}"])
        assert process.wait() == 0
        return " ".join(process.said().split())

    def end(self) -> None:
        """End what runs on the machines; the network ends the rest."""
        for process in self.daemons.values():
            process.stop()


def _keygen(path: Path) -> None:
    keygen = require("ssh-keygen", "openssh-client")
    process = Process(
        [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(path)],
        path.with_name(f"{path.name}.output"),
    )
    assert process.wait() == 0, process.said()
    wait_for(path.exists, what="the key")
    path.chmod(0o600)

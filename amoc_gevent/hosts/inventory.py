"""Reads hosts.ini, an inventory of machines and their variables in Ansible's INI format.

It supports groups with hosts and their variables, `[group:vars]`, and ranges such as `load[01:50]`.
Anything else is an error that names the line.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from amoc_gevent.core.suggestions import did_you_mean
from amoc_gevent.errors import UsageError
from amoc_gevent.output.kinds import OUTPUTS

MASTER, NODES, ALL = "amoc-master", "amoc-nodes", "amoc"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

DEFAULTS = {
    "ansible_host": "",
    "ansible_user": "",
    "ansible_port": "",
    "ansible_ssh_private_key_file": "",
    "ansible_ssh_common_args": "",
    "ansible_python_interpreter": "python3",
    "ansible_become": "",
    "amoc_user": "amoc",
    "amoc_install_dir": "/opt/amoc",
    "amoc_home": "/var/lib/amoc",
    "amoc_etc": "/etc",
    "amoc_workers": "",
    "amoc_address": "",
    "amoc_port": "5710",
    "amoc_reports_port": "5711",
    "amoc_file_limit": "500000",
    "amoc_keep_sysctls": "",
    **{f"amoc_{option.name}": "" for kind in OUTPUTS.values() for option in kind.options},
}
"""All variables with their defaults. Those of the outputs become options of the master."""

NUMBERS = {
    "ansible_port": 65535,
    "amoc_port": 65535,
    "amoc_reports_port": 65535,
    "amoc_workers": 4096,
    "amoc_file_limit": 1 << 30,
}
"""The variables that are whole numbers, with the highest value of each."""

OPTIONS = "ansible_ssh_common_args"
"""The only variable whose value may begin with "-": a program could take another for an option."""

_RANGE = re.compile(r"(.*)\[([0-9]{1,9}):([0-9]{1,9})\](.*)")
_SECTION = re.compile(r"\[([\w-]+)(?::(\w+))?\]")
_COMMENT = re.compile(r"""\s[#;][^'"]*$""")
RANGE_MAX = 1000


@dataclass(slots=True)
class Host:
    """One machine: its name, whether it is the master, a node or both, and its variables."""

    name: str
    groups: set[str] = field(default_factory=set)
    own: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, variable: str) -> str:
        return self.own.get(variable) or self.shared.get(variable) or DEFAULTS[variable]

    @property
    def address(self) -> str:
        """The address for ssh."""
        return self["ansible_host"] or self.name

    @property
    def is_master(self) -> bool:
        """Whether the master runs there."""
        return MASTER in self.groups

    @property
    def is_node(self) -> bool:
        """Whether a node runs there."""
        return NODES in self.groups


@dataclass(slots=True)
class Inventory:
    """The machines of hosts.ini, in its order, the master first."""

    machines: list[Host]

    @property
    def master(self) -> Host:
        """The machine of the master."""
        return next(machine for machine in self.machines if machine.is_master)

    @property
    def nodes(self) -> list[Host]:
        """The machines of the nodes."""
        return [machine for machine in self.machines if machine.is_node]

    def limited(self, names: str) -> list[Host]:
        """Return the machines with these comma-separated names; all machines for an empty text."""
        wanted = [name for name in re.split(r"[,\s]+", names) if name]
        known = [machine.name for machine in self.machines]
        for name in wanted:
            if name not in known:
                raise UsageError(f"there is no host {name}{_meant(name, known)}")
        return [machine for machine in self.machines if not wanted or machine.name in wanted]


def read(path: Path) -> Inventory:
    """Read hosts.ini. Raises UsageError, which names the wrong line."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{path} cannot be read ({reason}); it must list the machines, as hosts.ini of the "
            "checkout does"
        ) from error
    machines: dict[str, Host] = {}
    shared: dict[str, dict[str, str]] = {MASTER: {}, NODES: {}, ALL: {}}
    group, kind = "", None
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        section = _SECTION.fullmatch(text)
        if section is not None:
            group, kind = section[1], section[2]
            _check_section(group, kind, where)
        elif kind == "vars":
            shared[group] |= dict([_variable(text, where)])
        elif kind == "children":
            _check_child(text, where)
        elif group:
            for machine in _machines(text, where):
                known = machines.setdefault(machine.name, machine)
                known.groups.add(group)
                known.own |= machine.own
        else:
            raise UsageError(f"{where}: {text!r} must come after [{MASTER}] or [{NODES}]")
    return _whole(list(machines.values()), shared, path)


def _check_section(group: str, kind: str | None, where: str) -> None:
    known = (f"{MASTER}", f"{NODES}", f"{ALL}:vars", f"{MASTER}:vars", f"{NODES}:vars")
    given = f"{group}:{kind}" if kind else group
    if given not in {*known, f"{ALL}:children"}:
        raise UsageError(f"{where}: there is no section [{given}]; there are {', '.join(known)}")


def _check_child(text: str, where: str) -> None:
    if text not in {MASTER, NODES}:
        raise UsageError(f"{where}: [{ALL}:children] can have {MASTER} and {NODES}, not {text}")


def _machines(text: str, where: str) -> Iterator[Host]:
    """Yield the machines of one line: a name or a range of names, then variables."""
    try:
        first, *words = shlex.split(text, comments=True)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    own = dict(_variable(word, where) for word in words)
    for name in _names(first, where):
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{where}: {name[:64]!r} is no host name: letters, digits, '.', '_', '-'"
            )
        yield Host(name, own=own.copy())


def _names(text: str, where: str) -> list[str]:
    found = _RANGE.fullmatch(text)
    if found is None:
        return [text]
    before, low, high, after = found.groups()
    if not int(low) <= int(high) < int(low) + RANGE_MAX:
        raise UsageError(f"{where}: {text}: a range must go upwards, for {RANGE_MAX} hosts at most")
    return [f"{before}{n:0{len(low)}}{after}" for n in range(int(low), int(high) + 1)]


def _variable(text: str, where: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in _COMMENT.sub("", text).partition("="))
    if not equals or name not in DEFAULTS:
        raise UsageError(f"{where}: there is no variable {name}{_meant(name, list(DEFAULTS))}")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if name in NUMBERS and not _is_number(value, NUMBERS[name]):
        allowed = f"a whole number above zero, {NUMBERS[name]:,} at most"
        raise UsageError(f"{where}: {name} must be {allowed}, not {value[:40]!r}")
    if value.startswith("-") and name != OPTIONS:
        raise UsageError(f"{where}: {name} must not begin with '-': {value[:40]!r}")
    return name, value


def _is_number(text: str, most: int) -> bool:
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    return digits and 0 < int(text) <= most


def _meant(name: str, known: list[str]) -> str:
    meant = did_you_mean(name, known)
    return f", {meant}" if meant else f"; there are {', '.join(known)}"


def _whole(machines: list[Host], shared: dict[str, dict[str, str]], path: Path) -> Inventory:
    masters = [machine for machine in machines if machine.is_master]
    if len(masters) != 1:
        raise UsageError(f"{path}: [{MASTER}] must have one host, not {len(masters)}")
    if not any(machine.is_node for machine in machines):
        raise UsageError(f"{path}: [{NODES}] must have a host")
    for machine in machines:
        of_groups = [shared[group] for group in (MASTER, NODES) if group in machine.groups]
        machine.shared = {**shared[ALL], **{k: v for found in of_groups for k, v in found.items()}}
    return Inventory(sorted(machines, key=lambda machine: not machine.is_master))

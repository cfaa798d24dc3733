"""The tasks for the agents, made from hosts.ini."""

from typing import Any

from amoc_gevent.hosts.inventory import Host
from amoc_gevent.hosts.release import Release
from amoc_gevent.loading.places import PACKAGE
from amoc_gevent.output.kinds import OUTPUTS

Task = dict[str, Any]

SYSCTLS = (
    ("fs.file-max", "500000", "least"),
    ("fs.nr_open", "1048576", "least"),
    ("net.ipv4.ip_local_port_range", "1024 65535", "is"),
    ("net.ipv4.tcp_max_syn_backlog", "40000", "least"),
    ("net.core.somaxconn", "40000", "least"),
    ("net.core.netdev_max_backlog", "300000", "least"),
    ("net.ipv4.tcp_fin_timeout", "15", "most"),
    ("net.ipv4.tcp_tw_reuse", "1", "is"),
    ("net.ipv4.tcp_keepalive_time", "180", "most"),
    ("net.ipv4.tcp_keepalive_intvl", "60", "most"),
    ("net.ipv4.tcp_keepalive_probes", "5", "most"),
    ("net.core.rmem_max", "134217728", "least"),
    ("net.core.wmem_max", "134217728", "least"),
)
"""Name, value, and its meaning: the value itself ("is"), the least or the most that is allowed."""

UNITS = PACKAGE.parent / "deploy"


def common_fields(machine: Host) -> Task:
    """Return the fields of every task: paths, the user of the daemons, and their kinds."""
    return {
        "user": machine["amoc_user"],
        "home": machine["amoc_home"],
        "install_dir": machine["amoc_install_dir"],
        "etc": machine["amoc_etc"],
        "kinds": kinds_of(machine),
    }


def kinds_of(machine: Host) -> list[str]:
    """Return the kinds of daemons of a machine, in the order in which to stop them."""
    return [*(["node"] if machine.is_node else []), *(["master"] if machine.is_master else [])]


def prepare_task(machine: Host, python: str, *, check: bool) -> Task:
    """Return the task that prepares a machine."""
    keep = machine["amoc_keep_sysctls"].replace(",", " ").split()
    return {
        "verb": "prepare",
        "check": check,
        "python": python,
        "file_limit": int(machine["amoc_file_limit"]),
        "sysctls": SYSCTLS,
        "keep": keep,
        **common_fields(machine),
    }


def install_task(machine: Host, release: Release, *, check: bool) -> Task:
    """Return the task that installs the release."""
    return {"verb": "install", "check": check, **release_fields(release), **common_fields(machine)}


def release_fields(release: Release) -> Task:
    """Return the fields that describe the release."""
    return {"release": release.sha256, "commit": release.commit, "python": release.python}


def start_task(machine: Host, master: Host, kind: str, release: Release, *, check: bool) -> Task:
    """Return the task that starts the daemon of `kind`."""
    options = _master_options(machine) if kind == "master" else _node_options(machine, master)
    return {
        "verb": "start",
        "check": check,
        "kind": kind,
        "options": options,
        "unit": _unit(machine, kind),
        **release_fields(release),
        **common_fields(machine),
    }


def _master_options(machine: Host) -> list[str]:
    found = ["--bind", "0.0.0.0"]  # noqa: S104  # only machines with a key can join
    found += ["--port", machine["amoc_port"], "--reports-port", machine["amoc_reports_port"]]
    for option in (option for kind in OUTPUTS.values() for option in kind.options):
        if value := machine[f"amoc_{option.name}"]:
            found += [option.flag, value]
    return found


def _node_options(machine: Host, master: Host) -> list[str]:
    found = ["--name", machine.name]
    if machine is not master:  # its own node joins the master of its home
        found += ["--master", master["amoc_address"] or master.address]
        found += ["--port", master["amoc_port"], "--reports-port", master["amoc_reports_port"]]
    return found + (["--workers", machine["amoc_workers"]] if machine["amoc_workers"] else [])


def _unit(machine: Host, kind: str) -> str:
    """Return the systemd unit of a daemon with this machine's paths and user."""
    text = (UNITS / f"amoc-{kind}.service").read_text()
    home = machine["amoc_home"]
    if home != "/var/lib/amoc":  # systemd makes this directory only
        kept = [line for line in text.splitlines() if not line.startswith("StateDirectory")]
        text = "\n".join(kept).replace("/var/lib/amoc", home) + "\n"
    text = text.replace("/opt/amoc", machine["amoc_install_dir"]).replace(
        "/etc/", machine["amoc_etc"] + "/"
    )
    return text.replace("User=amoc\n", f"User={machine['amoc_user']}\n")

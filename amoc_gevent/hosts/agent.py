"""The agent that runs on a remote machine: reads one task on standard input, answers in one line.

It is sent over ssh and runs on Python 3.6 or newer, with the standard library only. Each task
changes only what differs from the wanted state; with `check` it changes nothing.
"""

import ctypes
import hashlib
import json
import os
import pwd
import resource
import shutil
import socket
import subprocess
import sys
import time
import zipfile

ANSWER = "amoc-agent-answer "
TIME_ERROR = 5
START_S = 60


class Failed(Exception):  # noqa: N818  # not an error in the agent
    """An expected failure with a one-line message."""


class Change:
    """The changes that were made or, with `check`, would be made."""

    def __init__(self, task):
        self.check = task["check"]
        self.done = []
        self.notes = []

    def file(self, path, text, what, mode=0o644):
        """Write `text` to a file if its content differs; return whether it did."""
        try:
            with open(path) as found:
                same = found.read() == text
        except FileNotFoundError:
            same = False
        if same:
            return False
        self.done += [what] if what else []
        if not self.check:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = "%s.amoc-new" % path
            with open(temporary, "w") as new:
                new.write(text)
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        return True

    def answer(self, **more):
        """Return the answer to the controller."""
        return dict(changed=self.done, notes=self.notes, **more)


def run(command, **how):
    """Run a command and return its output. Raises Failed with its last line."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **how
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(lines[-1] if lines else "%s ended with %d" % (command[0], done.returncode))
    return done.stdout


# prepare


def prepare(task, _data):
    """Set the limits, sysctls and user that a load generator needs."""
    change = Change(task)
    python_of(task["python"])
    if task["user"] != "root":
        _user(change, task["user"], task["home"])
    limits = "# connections that a process may hold; written by amoc\n"
    for who in ("root", task["user"]) if task["user"] != "root" else ("root",):
        for kind in ("soft", "hard"):
            limits += "%s %s nofile %d\n" % (who, kind, task["file_limit"])
    change.file(os.path.join(task["etc"], "security/limits.d/90-amoc.conf"), limits, "file limit")
    _sysctls(change, task)
    if not _synchronised():
        change.notes.append(
            "its clock is not synchronised: install chrony, or timedatectl set-ntp true"
        )
    return change.answer()


def _synchronised():
    """Return whether the clock is synchronised, by a read-only call of adjtimex(2)."""
    return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != TIME_ERROR


def python_of(version):
    """Return the path of the Python of this version. Raises Failed if there is none."""
    here = "%d.%d" % sys.version_info[:2]
    if here == version:
        return sys.executable
    found = shutil.which("python" + version)
    if found is None:
        raise Failed(
            "its Python is %s, and the release needs %s: install python%s"
            % (here, version, version)
        )
    return found


def _user(change, name, home):
    try:
        pwd.getpwnam(name)
    except KeyError:
        change.done.append("user " + name)
        if not change.check:
            run(["useradd", "--system", "--home-dir", home, "--shell", "/usr/sbin/nologin", name])


def _read_sysctl(name):
    try:
        with open("/proc/sys/" + name.replace(".", "/")) as file:
            return " ".join(file.read().split())
    except OSError:  # this kernel or namespace does not have it
        return None


def _fits(value, wanted, how):
    if how == "least":
        return int(value) >= int(wanted)
    if how == "most":
        return int(value) <= int(wanted)
    return value == wanted


def _paths(task):
    etc = task["etc"]
    return os.path.join(etc, "sysctl.d/90-amoc.conf"), os.path.join(etc, "amoc/sysctl-before.json")


def _load(path):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def _sysctls(change, task):
    """Set the sysctls that differ, save their old values, and make the new ones permanent."""
    settings, kept = _paths(task)
    before = _load(kept)
    wanted, changed = {}, []
    for name, value, how in task["sysctls"]:
        found = _read_sysctl(name)
        if found is None or any(name.startswith(keep) for keep in task["keep"]):
            continue
        wanted[name] = value
        if not _fits(found, value, how):
            before.setdefault(name, found)
            changed.append(name)
            if not change.check:
                _set_sysctl(name, value)
    if changed:
        change.done.append(" ".join(changed) if change.check else "%d sysctls" % len(changed))
    lines = ["%s = %s\n" % (name, wanted[name]) for name in sorted(before) if name in wanted]
    if lines:
        text = "# written by amoc, undone by `make unprepare`\n" + "".join(lines)
        change.file(kept, json.dumps(before, indent=1, sort_keys=True) + "\n", "")
        change.file(settings, text, "" if changed else settings)


def _set_sysctl(name, value):
    try:
        with open("/proc/sys/" + name.replace(".", "/"), "w") as file:
            file.write(value)
    except OSError as error:
        raise Failed("sysctl %s cannot be set: %s" % (name, error.strerror))


def unprepare(task, _data):
    """Undo `prepare`, except for the user, who may own files."""
    change = Change(task)
    settings, kept = _paths(task)
    for name, value in sorted(_load(kept).items()):
        if _read_sysctl(name) != value:
            change.done.append(name)
            if not change.check:
                _set_sysctl(name, value)
    for path in (settings, kept, os.path.join(task["etc"], "security/limits.d/90-amoc.conf")):
        if os.path.exists(path):
            change.done.append("%s removed" % path)
            if not change.check:
                os.remove(path)
    return change.answer()


# deploy


def look(task, _data):
    """Return what is installed and running here."""
    amoc = _amoc(task)
    return {
        "release": _hash(amoc),
        "commit": _commit(amoc),
        "running": {kind: _ask(task, kind, "daemon") for kind in task["kinds"]},
        "started": {kind: _load(_started(task, kind)) for kind in task["kinds"]},
    }


def install(task, data):
    """Install the release, and make keys if there are none."""
    change = Change(task)
    python_of(task["python"])
    target = _amoc(task)
    if _hash(target) != task["release"]:
        change.done.append("release " + task["commit"])
        if not change.check:
            _receive(target, data, task)
    if not change.check:
        _have_home(task)
        if _keys(task)["own"] is None:
            change.done.append("keys")
            _as_user(task, [target, "keys", "make"])
    elif not os.path.exists(os.path.join(task["home"], "keys/own.secret")):
        change.done.append("keys")
    there = os.path.exists(target) and os.path.isdir(task["home"])
    return change.answer(key=_keys(task)["own"] if there else None)


def _receive(target, data, task):
    """Write the release atomically."""
    directory = os.path.dirname(target)
    os.makedirs(directory, exist_ok=True)
    new = os.path.join(directory, ".amoc.new")
    try:
        with open(new, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(new, 0o755)
        os.replace(new, target)
    except OSError as error:
        if os.path.exists(new):
            os.remove(new)
        free = shutil.disk_usage(directory).free / 1e6
        raise Failed(
            "%s cannot take the release of %.0f MB: %s, %.1f MB are free"
            % (directory, len(data) / 1e6, error.strerror.lower(), free)
        )
    if _hash(target) != task["release"]:
        raise Failed("the release did not arrive whole")


def _have_home(task):
    home = task["home"]
    os.makedirs(home, mode=0o700, exist_ok=True)
    if task["user"] != "root":
        found = _entry(task["user"])
        os.chown(home, found.pw_uid, found.pw_gid)


def _entry(user):
    """Return the password database entry of a user. Raises Failed if there is none."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise Failed("there is no user %s: make prepare" % user)


def _hash(path):
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None


def _commit(amoc):
    """Return the commit that a release was built from."""
    try:
        with zipfile.ZipFile(amoc) as archive:
            return archive.read("site-packages/amoc_gevent/COMMIT").decode().strip()
    except (OSError, KeyError, zipfile.BadZipFile):
        return None


def _amoc(task):
    return os.path.join(task["install_dir"], "bin/amoc")


def _started(task, kind):
    return os.path.join(task["install_dir"], "started-%s.json" % kind)


def _as_user(task, command, text=None):
    """Run a command as the user of the daemons, with their home."""
    env = dict(os.environ, AMOC_HOME=task["home"], PYTHONDONTWRITEBYTECODE="")
    env["PATH"] = os.path.dirname(python_of(task["python"])) + ":" + env.get("PATH", os.defpath)
    if task["user"] != "root" and os.geteuid() == 0:
        found = _entry(task["user"])
        ids = ["--reuid", str(found.pw_uid), "--regid", str(found.pw_gid), "--init-groups"]
        command = ["setpriv"] + ids + command
        env["HOME"] = task["home"]
    return run(command, env=env, input=text, cwd=task["home"])


def _keys(task):
    return json.loads(_as_user(task, [_amoc(task), "keys", "--json"]))


def trust(task, _data):
    """Add the keys of other machines: the nodes' on the master, the master's on a node."""
    change = Change(task)
    found = _keys(task)
    for name, key in sorted(task["allow"].items()):
        if found["allowed"].get(name) != key and key != found["own"]:
            change.done.append("key of %s" % name)
            if not change.check:
                _as_user(task, [_amoc(task), "keys", "allow", name, "-"], key + "\n")
    if task["master_key"] and task["master_key"] not in (found["master"], found["own"]):
        change.done.append("key of the master")
        if not change.check:
            _as_user(task, [_amoc(task), "keys", "trust-master", "-"], task["master_key"] + "\n")
    return change.answer()


def start(task, _data):
    """Start a daemon; restart it if its release or options differ."""
    change = Change(task)
    kind = task["kind"]
    wanted = {"release": task["release"], "options": task["options"]}
    units = _systemd()
    if units:
        wanted["unit"] = hashlib.sha256(task["unit"].encode()).hexdigest()
    running = _ask(task, kind, "daemon")
    if running and _load(_started(task, kind)) == wanted:
        return change.answer()
    change.done.append("%s %s" % (kind, "restarted" if running else "started"))
    if change.check:
        return change.answer()
    if running:
        _as_user(task, [_amoc(task), "shutdown", kind])
    if units:
        _start_unit(task, kind)
    else:
        _as_user(task, [_amoc(task), kind] + task["options"])
    with open(_started(task, kind), "w") as file:
        json.dump(wanted, file)
    return change.answer()


def _systemd():
    return os.path.isdir("/run/systemd/system")


def _start_unit(task, kind):
    """Install, enable and start the unit."""
    name = "amoc-%s" % kind
    options = " ".join(task["options"])
    files = {
        "systemd/system/%s.service" % name: task["unit"],
        "default/%s" % name: 'AMOC_%s="%s"\n' % (kind.upper(), options),
    }
    for path, text in files.items():
        Change(task).file(os.path.join(task["etc"], path), text, path)
    run(["systemctl", "daemon-reload"])
    run(["systemctl", "enable", "--quiet", name])
    run(["systemctl", "restart", name])


def stop(task, _data):
    """Stop the daemons named in the task."""
    change = Change(task)
    for kind in task["kinds"]:
        if not _ask(task, kind, "daemon"):
            continue
        change.done.append("%s stopped" % kind)
        if not change.check:
            force = ["--force"] if task["force"] else []
            _as_user(task, [_amoc(task), "shutdown", kind] + force)
            if _systemd():
                run(["systemctl", "disable", "--now", "--quiet", "amoc-%s" % kind])
    return change.answer()


def logs(task, _data):
    """Return the last lines of the daemons' logs."""
    found = {}
    for kind in task["kinds"]:
        if _systemd():
            command = ["journalctl", "-u", "amoc-%s" % kind, "-n", str(task["lines"]), "-o", "cat"]
            found[kind] = run([*command, "--no-pager"]).splitlines()
            continue
        try:
            with open(os.path.join(task["home"], "log/%s.log" % kind), errors="replace") as file:
                found[kind] = [line.rstrip("\n") for line in file][-task["lines"] :]
        except FileNotFoundError:
            found[kind] = []
    return {"logs": found}


def command(task, _data):
    """Run amoc with the arguments of the task; return its output."""
    try:
        return {"said": _as_user(task, [_amoc(task), *task["words"]])}
    except FileNotFoundError:
        raise Failed("amoc is not installed: make deploy")


def _ask(task, kind, what):
    """Return a daemon's answer to a request, or None if it does not run."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        try:
            sock.connect(os.path.join(task["home"], kind + ".sock"))
            sock.sendall(json.dumps({"command": what}).encode() + b"\n")
            answer = json.loads(sock.makefile("rb").readline().decode())
        except (OSError, ValueError):
            return None
    return answer.get("result")


# doctor


def facts(task, _data):
    """Return the resources of this machine, and whether it reaches the master."""
    low, high = (int(word) for word in _read_sysctl("net.ipv4.ip_local_port_range").split())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    may_raise = os.geteuid() == 0
    with open("/proc/meminfo") as file:
        rows = dict(line.split(":") for line in file)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory": int(rows["MemAvailable"].split()[0]) * 1024,
        "descriptors": max(hard, int(_read_sysctl("fs.nr_open"))) if may_raise else hard,
        "ports": high - low + 1,
        "reuses_ports": _read_sysctl("net.ipv4.tcp_tw_reuse") == "1",
        "synchronised": _synchronised(),
        "commit": _commit(_amoc(task)) if "install_dir" in task else None,
        "unreachable": [_unreachable(*place) for place in task.get("reach", ())],
    }


def _unreachable(host, port):
    """Return why the address cannot be reached, or None."""
    try:
        socket.create_connection((host, port), 5).close()
    except OSError as error:
        return "%s:%d does not answer: %s" % (host, port, error.strerror or error)
    return None


VERBS = {
    "facts": facts,
    "prepare": prepare,
    "unprepare": unprepare,
    "look": look,
    "install": install,
    "trust": trust,
    "start": start,
    "stop": stop,
    "logs": logs,
    "command": command,
}


def main():
    """Carry out the task on standard input."""
    os.umask(0o022)  # otherwise only root might be able to use the release
    task = json.loads(sys.stdin.buffer.readline().decode())
    try:
        answer = VERBS[task["verb"]](task, sys.stdin.buffer.read(task["size"]))
    except Failed as failed:
        answer = {"failed": str(failed)}
    except OSError as error:
        answer = {"failed": "%s: %s" % (error.filename or task["verb"], error.strerror or error)}
    answer["time"] = time.time()
    print(ANSWER + json.dumps(answer))


main()

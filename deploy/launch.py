"""The release's first lines: they find a Python that fits, and a place for what it unpacks.

They run on any Python 3, so that one which does not fit is told in a line. What must be files for
the interpreter, compiled modules above all, is unpacked once for each build and user.
"""

import os
import platform
import shutil
import stat
import sys
import tempfile

BUILT_FOR = "@VERSION@"
MACHINE = "@MACHINE@"


def main():
    """Run amoc."""
    version = "%d.%d" % sys.version_info[:2]
    if version != BUILT_FOR:
        other = shutil.which("python" + BUILT_FOR)
        if other and not os.environ.get("AMOC_PYTHON_TRIED"):
            os.environ["AMOC_PYTHON_TRIED"] = other
            os.execv(other, [other, *sys.argv])  # noqa: S606
        fail("%s is Python %s, and there is no python%s" % (sys.executable, version, BUILT_FOR))
    os.environ.pop("AMOC_PYTHON_TRIED", None)
    if not sys.flags.no_site:  # what is installed here must not stand in for what is in the release
        os.execv(sys.executable, [sys.executable, "-S", *sys.argv])  # noqa: S606
    if platform.machine() != MACHINE:
        fail("this machine is %s" % platform.machine())
    os.environ["AMOC_RELEASE"] = os.path.abspath(sys.argv[0])
    try:
        os.environ.setdefault("SHIV_ROOT", place())
        import _bootstrap  # noqa: PLC0415  # shiv's, beside this module in the archive

        _bootstrap.bootstrap()
    except OSError as error:
        if error.filename is None or "release" not in str(error.filename):
            raise
        sys.exit("amoc: it cannot be unpacked to %s: %s" % (error.filename, error.strerror))


def fail(why):
    """Say which Python the release wants, and end."""
    what = "this release is for Python %s on %s" % (BUILT_FOR, MACHINE)
    sys.exit("amoc: %s; %s. Install it, or make a release there: make release" % (what, why))


def place():
    """Return the directory to unpack to: in AMOC_HOME, or where that is impossible, in /tmp."""
    home = os.path.expanduser(os.environ.get("AMOC_HOME") or os.path.join("~", ".amoc"))
    wanted = os.path.join(home, "release")
    try:
        os.makedirs(wanted, 0o700, exist_ok=True)
        if private(os.stat(home)) and private(os.lstat(wanted)) and os.access(wanted, os.W_OK):
            return wanted
    except OSError:
        pass
    return own_temporary()


def private(found):
    """Say whether what was found is a directory to which this user alone may write."""
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def own_temporary():
    """Return a directory below /tmp into which nobody else can put a module."""
    wanted = os.path.join(tempfile.gettempdir(), "amoc-release-%d" % os.getuid())
    try:
        os.mkdir(wanted, 0o700)
    except FileExistsError:
        if not private(os.lstat(wanted)):
            sys.exit("amoc: %s is not this user's alone: remove it, or set AMOC_HOME" % wanted)
    return wanted

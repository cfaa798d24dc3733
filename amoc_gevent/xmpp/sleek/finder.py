"""Makes `import sleekxmpp`, and all that is below it, find the face."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

SLEEK_PACKAGE = "amoc_gevent.xmpp.sleek"
OWN_SUBMODULES = {"basexmpp", "clientxmpp", "componentxmpp"}
"""The submodules that are the face's; all others are slixmpp's."""


class _Finder(MetaPathFinder, Loader):
    """Gives `sleekxmpp` and its submodules the modules that stand for them."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # the names alone decide
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        top, _, _ = fullname.partition(".")
        if top != "sleekxmpp" or not _exists(_target(fullname)):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> None:
        """Let an empty one be made: `exec_module` puts the real one in its place."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that is meant where the import looks for its result."""
        sys.modules[module.__name__] = importlib.import_module(_target(module.__name__))


def _target(name: str) -> str:
    _, _, rest = name.partition(".")
    if not rest:
        return SLEEK_PACKAGE
    return f"{SLEEK_PACKAGE}.{rest}" if rest in OWN_SUBMODULES else f"slixmpp.{rest}"


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


_finder = _Finder()


def install() -> None:
    """Have `import sleekxmpp` mean the face from now on, in this process."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)

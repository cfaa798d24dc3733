"""Makes `import sleekxmpp` and its submodules import amoc_gevent.xmpp.sleek."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

SLEEK_PACKAGE = "amoc_gevent.xmpp.sleek"
OWN_SUBMODULES = {"basexmpp", "clientxmpp", "componentxmpp"}
"""The submodules defined here. All others are slixmpp's."""


class _Finder(MetaPathFinder, Loader):
    """Maps `sleekxmpp` and its submodules to the modules that replace them."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # only the name matters
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        top, _, _ = fullname.partition(".")
        if top != "sleekxmpp" or not _exists(_target(fullname)):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> None:
        """Return None for an empty module, which `exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the target module into sys.modules, where the import finds it."""
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
    """Map `import sleekxmpp` to amoc_gevent.xmpp.sleek in this process."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)

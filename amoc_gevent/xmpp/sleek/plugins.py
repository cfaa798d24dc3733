"""The plugins of a stream by name, each wrapped in SleekXMPP's API."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from slixmpp.plugins import PluginManager

from amoc_gevent.xmpp.sleek import adhoc, muc  # noqa: F401  # they register overrides
from amoc_gevent.xmpp.sleek.wrappers import ObjectWrapper

if TYPE_CHECKING:
    from amoc_gevent.xmpp.sleek.handling import EventHandling


class Plugins:
    """The mapping `xmpp.plugin` of a script, on top of slixmpp's plugin manager."""

    def __init__(self, stream: "EventHandling", manager: PluginManager) -> None:
        self._stream = stream
        self._manager = manager
        self._wrappers: dict[str, ObjectWrapper] = {}

    def __getitem__(self, name: str) -> ObjectWrapper:
        """Return the plugin. Raises slixmpp's PluginNotFound if it is not registered."""
        found = self._manager[name]
        wrapper = self._wrappers.get(name)
        if wrapper is None or wrapper != found:
            wrapper = self._wrappers[name] = ObjectWrapper(self._stream, found)
        return wrapper

    def __contains__(self, name: object) -> bool:
        return name in self._manager

    def __iter__(self) -> Iterator[str]:
        return iter(self._manager)

    def __len__(self) -> int:
        return len(self._manager)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the plugin, or `default` if it is not registered."""
        return self[name] if name in self._manager else default

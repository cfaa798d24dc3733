"""The common base of SleekXMPP's clients and components, on top of slixmpp's."""

# slixmpp's signatures are partly untyped, and SleekXMPP's differ from them:
# mypy: disallow-untyped-calls=False, disable-error-code="override"

from typing import Any

import slixmpp
from slixmpp.plugins import PluginManager
from slixmpp.xmlstream import StanzaBase

from amoc_gevent.xmpp.sleek import recording, stanza
from amoc_gevent.xmpp.sleek.callers import called_by_slixmpp
from amoc_gevent.xmpp.sleek.connection import SleekConnection, log
from amoc_gevent.xmpp.sleek.names import snake_case
from amoc_gevent.xmpp.sleek.plugins import Plugins


class BaseXMPP(SleekConnection):
    """A stream with SleekXMPP's API: calls block, handlers run in greenlets.

    slixmpp's own code gets slixmpp's behaviour from the same methods.
    """

    def _sleek_finish_init(self) -> None:
        """Replace slixmpp's stanza classes and add event listeners, after its constructor."""
        for ours, theirs in (
            (stanza.Message, slixmpp.Message),
            (stanza.Iq, slixmpp.Iq),
            (stanza.Presence, slixmpp.Presence),
        ):
            self.remove_stanza(theirs)
            self.register_stanza(ours)
        self._sleek_add_listeners()

    def __getattr__(self, name: str) -> Any:
        """Resolve a camelCase name to slixmpp's name."""
        renamed = snake_case(name)
        if renamed == name or name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self, renamed)

    def __getitem__(self, name: str) -> Any:
        """Return a plugin, or False if it is not registered."""
        if name in self.__manager:
            return self.__manager[name] if called_by_slixmpp() else self.__plugins[name]
        log.warning("Plugin %r is not loaded.", name)
        return False

    def get(self, key: str, default: Any = None) -> Any:
        """Return a plugin, or `default` if it is not registered."""
        plugins = self.__manager if called_by_slixmpp() else self.__plugins
        return plugins.get(key, default)

    @property
    def plugin(self) -> Any:
        """The plugins by name."""
        return self.__manager if called_by_slixmpp() else self.__plugins

    @plugin.setter
    def plugin(self, manager: PluginManager) -> None:
        self.__manager = manager
        self.__plugins = Plugins(self, manager)

    def Message(self, *args: Any, **options: Any) -> Any:  # noqa: N802  # slixmpp's name
        """Return a new message of this stream."""
        return self.__in_language(stanza.Message(self, *args, **options))

    def Presence(self, *args: Any, **options: Any) -> Any:  # noqa: N802
        """Return a new presence of this stream."""
        return self.__in_language(stanza.Presence(self, *args, **options))

    def Iq(self, *args: Any, **options: Any) -> Any:  # noqa: N802
        """Return a new IQ of this stream."""
        return stanza.Iq(self, *args, **options)

    def __in_language(self, made: Any) -> Any:
        made["lang"] = self.default_lang
        return made

    def send(self, data: Any, *args: Any, use_filters: bool = True, **_: object) -> None:
        """Send a stanza or text. SleekXMPP's `mask`, `timeout` and `now` have no effect."""
        if args and called_by_slixmpp():
            use_filters = args[0]
        if isinstance(data, stanza.ReplyableStanza):
            recording.count(recording.SENT)
        super().send(data, use_filters)

    def recv_stanza(self, received: StanzaBase) -> None:
        """Count a received stanza and let slixmpp dispatch it."""
        if isinstance(received, stanza.ReplyableStanza):
            recording.count(recording.RECEIVED)
        super().recv_stanza(received)

    def send_raw(self, data: str | bytes, *_: object, **__: object) -> None:
        """Send text as it is, at once."""
        super().send_raw(data)

    def send_xml(self, data: Any, *_: object, **__: object) -> None:
        """Send an element."""
        super().send_xml(data)

"""Ad-hoc commands (XEP-0050) that a script provides. Their handlers may block."""

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from amoc_gevent.xmpp.sleek.wrappers import override

if TYPE_CHECKING:
    from amoc_gevent.xmpp.sleek.handling import EventHandling

STEPS = ("next", "cancel")


@override("xep_0050", "add_command")
def _add_command(
    stream: "EventHandling",
    plugin: Any,
    jid: Any = None,
    node: str | None = None,
    name: str = "",
    handler: Any = None,
) -> None:
    """Add a command: `handler(iq, session)` answers its first step, `session["next"]` the next."""
    plugin.add_command(jid, node, name, _coroutine_handler(stream, handler))


def _coroutine_handler(stream: "EventHandling", handler: Any) -> Any:
    """Return a coroutine function for slixmpp that calls `handler` in a greenlet of the stream."""
    if not callable(handler) or iscoroutinefunction(handler):
        return handler

    async def answer(payload: Any, session: Any) -> Any:
        answered = await stream.sleek_call_for_result(handler, payload, session)
        if isinstance(answered, dict):
            for step in STEPS:
                answered[step] = _coroutine_handler(stream, answered.get(step))
        return answered

    return answer

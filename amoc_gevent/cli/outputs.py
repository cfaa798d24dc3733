"""The options of all outputs, for the commands that hold a run."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click

from amoc_gevent.cli.params import DURATION
from amoc_gevent.output.kinds import OUTPUTS
from amoc_gevent.output.option_types import Option


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every output; the command gets the chosen outputs, by name, as `outputs`.

    Raises UsageError when the command is called with bad values.
    """

    @wraps(command)
    def with_outputs(**given: Any) -> Any:
        chosen = {}
        for name, kind in OUTPUTS.items():
            values: Mapping[str, Any] = {one.name: given.pop(one.name) for one in kind.options}
            found = kind.choose(values)
            if found is not None:
                chosen[name] = found
        return command(outputs=chosen, **given)

    wrapped: Callable[..., Any] = with_outputs
    for option in reversed([one for kind in OUTPUTS.values() for one in kind.options]):
        wrapped = _option(option)(wrapped)
    return wrapped


def _option(one: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        one.flag,
        type=DURATION if one.unit == "time" else None,
        metavar=one.metavar,
        default=one.default,
        help=one.help,
    )

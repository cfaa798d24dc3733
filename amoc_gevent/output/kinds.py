"""The kinds of outputs that `amoc run` and `amoc master` offer, by name.

`output/base.py` says how to add one. The import is cheap.
"""

from collections.abc import Mapping

from amoc_gevent.output.graphite.options import GRAPHITE
from amoc_gevent.output.option_types import OutputKind

OUTPUTS: Mapping[str, OutputKind] = {"graphite": GRAPHITE}
"""Add an output here. Its name also prefixes its keys in the run store."""

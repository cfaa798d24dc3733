"""The outputs that `amoc run` and `amoc master` offer, by name. Importing it costs nothing."""

from collections.abc import Mapping

from amoc_gevent.output.graphite.options import GRAPHITE
from amoc_gevent.output.kinds import OutputKind

OUTPUTS: Mapping[str, OutputKind] = {"graphite": GRAPHITE}
"""Add an output here. Its name also marks what it leaves in the run store."""

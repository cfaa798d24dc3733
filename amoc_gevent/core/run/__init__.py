"""The plan, placement and lifecycle of a run: decisions without I/O."""

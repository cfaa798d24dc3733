"""Scenarios on disk: found, read, packed for other machines, loaded."""

"""Measurements of a run, and how they are merged."""

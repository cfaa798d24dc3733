"""Scenarios on disk: finds, lists, loads and packs them for other machines."""

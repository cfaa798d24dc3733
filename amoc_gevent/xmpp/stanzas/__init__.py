"""Stanzas: building, matching, dispatching and waiting for them."""

"""Stanzas: made, matched, dispatched, waited for."""

"""Decisions without I/O: pure functions and plain data, tested as tables of cases."""

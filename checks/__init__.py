"""Checks of our own, for rules that ruff, mypy and import-linter cannot hold."""

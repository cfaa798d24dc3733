"""Our own checks, for rules that ruff, mypy and import-linter cannot express."""

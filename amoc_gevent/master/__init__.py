"""The master: holds the plan, takes commands and collects what was measured."""

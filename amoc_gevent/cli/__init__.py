"""The command line: click commands, the only place that puts the parts together."""

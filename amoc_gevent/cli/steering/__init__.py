"""Commands that steer a run, at the shell and at a prompt."""

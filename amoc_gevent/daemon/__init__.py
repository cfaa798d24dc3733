"""A process in the background: its home, keys, pid file, log and signals."""

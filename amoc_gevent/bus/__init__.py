"""The sockets between master, nodes and workers, and what their messages are about."""

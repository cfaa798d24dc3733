"""The sockets between master, nodes and workers, and the topics of their messages."""

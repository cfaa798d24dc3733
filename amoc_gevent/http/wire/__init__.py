"""HTTP/1.1 on a connection: heads, bodies, framing, kept connections."""

"""HTTP/1.1: heads, bodies, framing, connections and their pool."""

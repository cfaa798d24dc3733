"""What the generators load: nginx, and a server that answers late; both on the server's core."""

"""Commands from outside the process: requests, the socket, its server and client."""

"""Commands from outside the process: requests, the control socket, its server and client."""

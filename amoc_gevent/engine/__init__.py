"""Processes and sockets: what loads a scenario and runs its users."""

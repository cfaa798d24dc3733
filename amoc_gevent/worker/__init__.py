"""The worker: one process with its users."""

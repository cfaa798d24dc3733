"""The worker process, which runs users."""

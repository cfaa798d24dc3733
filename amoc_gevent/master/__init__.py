"""The master: holds the plan, handles commands and collects measurements."""

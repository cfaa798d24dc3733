"""The outputs for a terminal: the live table, lines and the closing report."""

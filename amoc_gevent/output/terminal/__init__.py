"""What a person reads in a terminal: the live table, lines, the closing report."""

"""What a run shows of itself: live table, lines, closing report and summary file."""

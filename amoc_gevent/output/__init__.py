"""The outputs of runs: live table, lines, closing report, summary file, log and Graphite."""

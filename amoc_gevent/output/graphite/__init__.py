"""The Graphite output: a point of each metric for each interval, an annotation for each event."""

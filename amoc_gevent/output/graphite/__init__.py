"""A run's figures in Graphite: points at each interval, annotations as things happen."""

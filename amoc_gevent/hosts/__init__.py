"""The machines of a distributed test: which there are, how they are prepared and deployed to."""

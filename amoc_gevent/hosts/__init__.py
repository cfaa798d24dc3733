"""The machines of a distributed test: their inventory, preparation and deployment."""

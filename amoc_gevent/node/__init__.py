"""The node: supervises the workers of one machine and merges what they measured."""

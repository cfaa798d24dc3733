"""What a run is asked to do and how it stands; decisions without I/O."""

"""What is measured, and how it is added up."""

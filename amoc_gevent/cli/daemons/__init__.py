"""Commands that start, end and equip processes of a cluster."""

"""What is kept of a reference: its named points; and what it is kept as."""

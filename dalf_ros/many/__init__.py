"""`./run register-many`: many recordings registered on the cores of one machine or of a cluster, by Ray."""

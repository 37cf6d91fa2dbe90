"""How sure the place of each vertex is."""

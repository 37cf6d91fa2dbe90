"""Several objects at once: one feature extraction, and for each its template, its matches and its registration_node."""

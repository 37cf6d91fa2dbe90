"""Templates: saved references, libraries of them, which of them a picture shows; named points of a reference."""

"""Templates: saved references, libraries of them, and which of them a picture shows."""

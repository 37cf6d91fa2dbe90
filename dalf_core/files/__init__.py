"""Files: pictures, meshes, the user's cache; written whole or not at all."""

"""From a folder of photos to pairs of views with known warps."""

"""Scores of weights: on computed pairs of photos, and on images of deforming objects."""

"""Registering a recording frame by frame: the run, its files and pictures."""

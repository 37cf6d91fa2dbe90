"""Followed surfaces as other programs take them: datasets to learn from, tables, animated meshes."""

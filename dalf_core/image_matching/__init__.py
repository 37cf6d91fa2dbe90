"""Whole matcher: from two pictures to verified matches, looking at the second one again as the first would see it."""

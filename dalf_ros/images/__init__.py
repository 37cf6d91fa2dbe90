"""Image messages to arrays and back: every encoding, compressed depth, video streams."""

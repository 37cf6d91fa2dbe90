"""Image messages to arrays and back: every encoding, compressed depth, zstd, video streams, organised clouds."""

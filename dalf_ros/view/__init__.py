"""`./run view`: what running nodes do, on a page in the browser."""

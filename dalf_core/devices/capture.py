"""What CUDA graphs of one process have in common, whichever library makes them."""
from __future__ import annotations

import threading

# Held while a graph is captured. PyTorch waits for the whole GPU when it begins one, which breaks any other capture under way.
CAPTURE = threading.Lock()

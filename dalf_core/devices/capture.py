"""The lock that CUDA graphs of one process share, whichever library captures them."""
from __future__ import annotations

import threading

# Held while a graph is captured. PyTorch begins by synchronising the whole GPU, which would break another capture in progress.
CAPTURE = threading.Lock()

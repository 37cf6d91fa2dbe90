"""The registration solver on NVIDIA Warp: the twin of the modules of the same names one folder up."""

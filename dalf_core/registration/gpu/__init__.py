"""The GPU solver, on NVIDIA Warp (`wp`): twins of the modules of the same names one folder up."""

"""A simulated RGB-D recording of a moving cloth with exact ground truth: physics by MuJoCo, the camera by ray casting."""

"""Which device PyTorch works on, and GPUs that several libraries share."""

"""Small parts of the networks that a processor does faster by a compiled loop than by PyTorch's steps over whole tensors."""

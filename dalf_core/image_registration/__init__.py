"""Registration of images in 2D: the smooth warp, tracking a template through a film, reading and writing films."""

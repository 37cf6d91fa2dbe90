"""Registration of images in 2D: the smooth warp, how alike two pictures are, reading and writing films."""

"""What the nodes do when they are asked, besides following the surface."""

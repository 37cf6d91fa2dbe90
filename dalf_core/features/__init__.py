"""From an image to keypoints and descriptors: the networks, their extraction pipeline, backends and export."""

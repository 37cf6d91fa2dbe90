"""What registration_node does when it is asked, besides following the surface."""

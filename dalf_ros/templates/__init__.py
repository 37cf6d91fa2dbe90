"""Templates in ROS: as messages, as services of the nodes, and the command that makes and shows them."""

"""The ROS half: nodes, bag tools, launch support. The programs lie on top, what they are made of in the folders."""

"""Between ROS messages and the types of dalf_core."""

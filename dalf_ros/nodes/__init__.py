"""What the ROS nodes are made of: workers, mailboxes, synchronisation, parameters, diagnostics."""

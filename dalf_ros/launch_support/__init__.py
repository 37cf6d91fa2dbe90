"""What launch files need: arguments, camera topics, a look into a bag, processes."""

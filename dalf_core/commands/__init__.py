"""Commands that need no ROS: `./run match`, `./run video`, or `python -m dalf_core.commands.match`."""

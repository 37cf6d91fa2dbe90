"""Commands that need no ROS: `python -m dalf_core.commands.NAME`, or `./run NAME`."""

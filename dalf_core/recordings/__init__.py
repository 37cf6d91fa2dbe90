"""Recorded frames that are pictures in folders: which layouts there are, which camera they are of, and the frames one by one."""

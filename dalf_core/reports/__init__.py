"""Pages that show a registered recording in a browser, each one file that needs neither a server nor the network."""

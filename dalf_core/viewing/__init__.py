"""What happens now, in a browser: the page of `./run live` and `./run view`; and recordings for the Rerun viewer."""

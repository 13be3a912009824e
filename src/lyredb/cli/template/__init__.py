"""The files of a new application; ``lyredb init`` copies them."""

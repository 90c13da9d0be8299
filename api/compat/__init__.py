"""Other APIs, as translations onto the same predictions."""

"""Every SELECT and UPDATE that does not move a prediction's state."""

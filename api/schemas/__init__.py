"""The wire, word for word."""

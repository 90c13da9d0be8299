"""What ships with the source to be tried out."""

"""What a request means: values in, rows out."""

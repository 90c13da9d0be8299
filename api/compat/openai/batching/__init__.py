"""What becomes of batches: their lines are checked, become predictions, and are answered in files."""

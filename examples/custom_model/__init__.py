"""A custom model: one file with one class."""

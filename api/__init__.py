"""Everything that speaks HTTP, and nothing that does not."""

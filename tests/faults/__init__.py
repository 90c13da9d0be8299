"""Faults of every kind, done to real processes; afterwards an audit proves that nothing was lost."""

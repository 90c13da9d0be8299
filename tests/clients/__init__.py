"""Replicate's official clients, unmodified, against a server that `augury up` has started."""

"""The APIs of the servers that came before, translated onto predictions: docs/originals.md."""

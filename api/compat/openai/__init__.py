"""OpenAI's API: its requests become predictions, and their ends its answers."""

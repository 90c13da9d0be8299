"""Everything that runs after the response: the Celery app, lanes, sessions, the steward."""

"""Model types: values in, values out. They know nothing of HTTP, SQL or Celery."""

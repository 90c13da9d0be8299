"""What is durable: rows and blobs. Knows nothing of HTTP, models or Celery."""

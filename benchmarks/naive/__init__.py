"""What a good engineer writes in a day with the same parts: FastAPI, the ORM, a Celery task per prediction.

It is the base that Augury is measured against, so nothing in it is slow on purpose: one pool of connections,
credentials looked up by an index, validation before anything is stored, publishing off the event loop, late
acknowledgement, no results backend that nobody reads.
"""

"""The workers: Celery tasks that validate, persist and compute who must get what."""

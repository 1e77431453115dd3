"""The workers: Celery tasks that validate events, store them, and decide who receives what."""

"""Jobs that run on a schedule or from a queue, on Celery or on AWS Lambda.

They use `infra.wire` and `infra.store` and import neither Celery nor another deployable.
"""

"""Jobs that run on a schedule or from a queue, on Celery beat or on AWS Lambda.

They stand on `infra.wire` and `infra.store` and import neither Celery nor another deployable.
"""

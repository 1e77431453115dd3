"""Represents the worker of the naive split: one Celery task per message, as in Celery's first steps.

A task is one INSERT that commits on its own. Its result goes to every edge by Redis pub/sub. Start as
many as wanted: `python -m tests.benchmark.peers.naive_tasks`.
"""

import json
import os
from typing import Any

import psycopg
from celery import Celery
from redis import Redis

CHANNEL = "results"
TASK = "store_message"

CREATE = """
    CREATE TABLE IF NOT EXISTS messages (
        id bigserial PRIMARY KEY,
        sender text NOT NULL,
        recipient text NOT NULL,
        text text NOT NULL,
        client_id text,
        created_at timestamptz NOT NULL DEFAULT now()
    )
"""
INSERT = """
    INSERT INTO messages (sender, recipient, text, client_id) VALUES (%s, %s, %s, %s)
    RETURNING id, created_at
"""

celery_app = Celery("naive", broker=os.environ["REDIS_URL"])
celery_app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)


class Store:
    """One connection to Postgres and one to Redis, kept open from task to task."""

    def __init__(self) -> None:
        self.postgres = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        self.redis = Redis.from_url(os.environ["REDIS_URL"])

    def create_table(self) -> None:
        with self.postgres.transaction():
            # Workers start at the same time, and "if not exists" alone is not safe then.
            self.postgres.execute("SELECT pg_advisory_xact_lock(1)")
            self.postgres.execute(CREATE)

    def handle(self, task_id: str, sender: str, recipient: str, text: str, client_id: str | None) -> None:
        try:
            message = self.insert(sender, recipient, text, client_id)
            answer = {"success": True, "message": message}
        except psycopg.Error as error:
            answer = {"success": False, "error": str(error), "code": "internal", "retryable": True}
        self.redis.publish(CHANNEL, json.dumps({"taskId": task_id, "answer": answer}))

    def insert(self, sender: str, recipient: str, text: str, client_id: str | None) -> dict[str, Any]:
        if self.postgres.closed:
            self.postgres = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        row = self.postgres.execute(INSERT, (sender, recipient, text, client_id), prepare=True).fetchone()
        assert row
        return {
            "id": str(row[0]),
            "senderId": sender,
            "senderUsername": sender,
            "recipientId": recipient,
            "recipientUsername": recipient,
            "text": text,
            "createdAt": row[1].isoformat(),
            "status": "sent",
            "clientId": client_id,
        }


def main() -> None:
    """Work until SIGTERM."""
    store = Store()
    store.create_table()
    celery_app.task(name=TASK)(store.handle)
    options = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    celery_app.worker_main(["--quiet", "worker", "--pool=solo", "--loglevel=WARNING", *options])


if __name__ == "__main__":
    main()

"""A complete consumer of events for another service (docs/migration-guide.md). Needs pika 1.x."""

import json
import logging
import os
import random
import sqlite3
import time

import pika
import pika.exceptions

QUEUE = "billing.subscription"
QUORUM = {"x-queue-type": "quorum"}

logging.basicConfig(level=logging.INFO)
logging.getLogger("pika").setLevel(logging.CRITICAL)
log = logging.getLogger("billing")


class Poison(Exception):
    """A message that no retry can help."""


def declare(channel):
    """Idempotent. Services share the exchange: the broker refuses a declaration with other arguments."""
    channel.exchange_declare("smap.events", "topic", durable=True)
    channel.exchange_declare("billing.dlx", "direct", durable=True)
    channel.queue_declare(QUEUE + ".dead", durable=True, arguments=QUORUM)
    channel.queue_bind(QUEUE + ".dead", "billing.dlx", QUEUE)
    channel.queue_declare(QUEUE, durable=True, arguments=QUORUM | {
        "x-delivery-limit": 20, "x-dead-letter-exchange": "billing.dlx", "x-dead-letter-routing-key": QUEUE,
        "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
    })
    channel.queue_bind(QUEUE, "smap.events", "subscription.#")


def handle(db, body):
    """Applies one event and records its id in one transaction: both are stored, or neither."""
    try:
        event = json.loads(body)
        event_id, data = event["event_id"], event["payload"]["data"]
        holder = (data["user_id"], data["version"], data["plan_code"], data.get("status") or data["new_status"])
        if [type(field) for field in (event_id, *holder)] != [str, str, int, str, str]:
            raise TypeError("a field has another type")
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Poison("not a subscription event that can be used") from e
    with db:  # one transaction
        first = db.execute("INSERT INTO seen (event_id) VALUES (?) ON CONFLICT DO NOTHING", (event_id,))
        if first.rowcount == 0:
            return  # seen before: nothing to do
        # No order is promised, so an older version never replaces a newer one.
        db.execute("""INSERT INTO holders (user_id, version, plan, status) VALUES (?, ?, ?, ?)
            ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, plan = excluded.plan, status = excluded.status
            WHERE excluded.version > holders.version""", holder)


def consume(db):
    """Works until the connection ends or the database fails. What is not acked by then is redelivered."""
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"]))
    try:
        channel = connection.channel()
        declare(channel)
        channel.basic_qos(prefetch_count=20)  # without it the broker hands out everything at once
        for method, properties, body in channel.consume(QUEUE):  # acked by hand
            try:
                handle(db, body)
            except Poison as e:
                log.warning("event %s refused: %s", properties.message_id, e)
                channel.basic_nack(method.delivery_tag, requeue=False)  # goes to the dead queue
            else:
                channel.basic_ack(method.delivery_tag)
    finally:
        if connection.is_open:
            connection.close()


def main():
    db = sqlite3.connect("billing.db")  # any database will do, if it is the one that holds the effect
    db.execute("CREATE TABLE IF NOT EXISTS seen (event_id text PRIMARY KEY)")
    db.execute("CREATE TABLE IF NOT EXISTS holders (user_id text PRIMARY KEY, version bigint, plan text, status text)")
    while True:  # every connection starts over: topology, channel, consumer
        try:
            consume(db)
            log.warning("the broker has ended the consumer; was the queue deleted?")
        except (pika.exceptions.AMQPError, OSError, sqlite3.Error) as e:
            log.warning("consuming has ended: %r", e)
        time.sleep(random.uniform(1, 5))


if __name__ == "__main__":
    main()

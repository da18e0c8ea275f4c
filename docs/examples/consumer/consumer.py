"""A complete consumer of events for another service (docs/integrate.md). Needs pika 1.x."""

import json
import logging
import os
import random
import sqlite3
import time
from datetime import datetime

import pika
import pika.exceptions

QUEUE = "billing.accounts"
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
    for key in ("subscription.#", "user.disabled", "user.deleted"):
        channel.queue_bind(QUEUE, "smap.events", key)


def seconds(text):
    """Seconds since 1970 of a time such as 2026-01-31T09:31:07.004201Z, whose fraction may have any length."""
    return int(datetime.fromisoformat(text[:19] + "+00:00").timestamp())


def handle(db, kind, body):
    """Applies one event and records its id in one transaction: both are stored, or neither. Returns what it did."""
    try:
        event = json.loads(body)
        event_id, data = event["event_id"], event["payload"]["data"]
        user_id = data["user_id"]
        if kind.startswith("subscription."):
            until = data["effective_until"]  # null is open-ended
            holder = (data["version"], data["plan_code"], data.get("status") or data["new_status"])
            if [type(field) for field in holder] != [int, str, str] or holder[0] < 1:
                raise TypeError("a field has another type")
            holder += (None if until is None else seconds(until),)
        elif kind in ("user.disabled", "user.deleted"):
            since = seconds(data["occurred_at"])
        else:
            raise ValueError("nothing is done here about such an event")
        if type(event_id) is not str or type(user_id) is not str:
            raise TypeError("an id has another type")
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Poison("it lacks what is needed") from e
    with db:  # one transaction
        first = db.execute("INSERT INTO seen (event_id) VALUES (?) ON CONFLICT DO NOTHING", (event_id,))
        if first.rowcount == 0:
            return "seen before, nothing to do"
        if not kind.startswith("subscription."):
            # They get new tokens only after they were enabled again.
            db.execute("""INSERT INTO refused (user_id, since) VALUES (?, ?)
                ON CONFLICT (user_id) DO UPDATE SET since = excluded.since WHERE excluded.since > refused.since""",
                       (user_id, since))
            if kind != "user.deleted":
                return f"tokens of {user_id} that are older are refused"
            # Events of theirs that come later have a lower version, and change nothing.
            db.execute("""INSERT INTO holders (user_id, version, plan, status, until) VALUES (?, ?, '', 'deleted', NULL)
                ON CONFLICT (user_id) DO UPDATE
                SET version = excluded.version, plan = excluded.plan, status = excluded.status, until = excluded.until""",
                       (user_id, 2**63 - 1))
            return f"{user_id} holds nothing any more, and their tokens are refused"
        # No order is promised, so an older version never replaces a newer one.
        newer = db.execute("""INSERT INTO holders (user_id, version, plan, status, until) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (user_id) DO UPDATE
            SET version = excluded.version, plan = excluded.plan, status = excluded.status, until = excluded.until
            WHERE excluded.version > holders.version""", (user_id, *holder))
        if newer.rowcount == 0:
            return "older than what is stored, nothing to do"
        _, plan, status, until = holder
        return f"{user_id} holds {plan}, {status}, entitled: {entitled(status, until, time.time())}"


def entitled(status, until, now):
    """The rule for what an event or the hash in Redis says. Without until it is open-ended."""
    # A cancelled subscription lasts until its end.
    return status in ("trialing", "active", "past_due", "cancelled") and (until is None or now < until)


def consume(db):
    """Works until the connection ends or the database fails. What is not acked by then is redelivered."""
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"]))
    try:
        channel = connection.channel()
        declare(channel)
        channel.basic_qos(prefetch_count=20)  # without it the broker hands out everything at once
        log.info("waiting for events in %s", QUEUE)
        for method, properties, body in channel.consume(QUEUE):  # acked by hand
            try:
                done = handle(db, properties.type or "", body)
            except Poison as e:
                done = f"to the dead queue: {e}"
                channel.basic_nack(method.delivery_tag, requeue=False)
            else:
                channel.basic_ack(method.delivery_tag)
            log.info("%s %s: %s", properties.type, properties.message_id, done)
    finally:
        if connection.is_open:
            connection.close()


def main():
    db = sqlite3.connect("billing.db")  # any database will do, if it is the one that holds the effect
    db.executescript("""CREATE TABLE IF NOT EXISTS seen (event_id text PRIMARY KEY);
        CREATE TABLE IF NOT EXISTS holders (user_id text PRIMARY KEY, version bigint, plan text, status text, until bigint);
        CREATE TABLE IF NOT EXISTS refused (user_id text PRIMARY KEY, since bigint)""")
    while True:  # every connection starts over: topology, channel, consumer
        try:
            consume(db)
            log.warning("the broker has ended the consumer; was the queue deleted?")
        except (pika.exceptions.AMQPError, OSError, sqlite3.Error) as e:
            log.warning("consuming has ended: %r", e)
        time.sleep(random.uniform(1, 5))


if __name__ == "__main__":
    main()

"""A service that knows its users and what they may use (docs/integrate.md)."""

import logging
import os
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

from access import secrets, user_of
from entitlement import entitlement_of

KEYS = secrets()
logging.basicConfig(level=logging.INFO)
log = logging.getLogger("server")


def refused(claims):
    """Reports whether the user was disabled or deleted after their token was issued."""
    db = sqlite3.connect("billing.db")  # where the consumer writes
    try:
        row = db.execute("SELECT since FROM refused WHERE user_id = ?", (claims["sub"],)).fetchone()
    finally:
        db.close()
    return row is not None and claims["iat"] <= row[0]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            claims = user_of(self.headers, KEYS)
            if refused(claims):
                raise jwt.InvalidTokenError("the account was disabled or deleted")
        except jwt.InvalidTokenError as e:
            log.warning("401: %s", e)  # the reason is for us
            return self.respond(401, "Please log in")
        except sqlite3.Error as e:  # it is not known, which is no reason to lock people out
            log.warning("503: %s", e)
            return self.respond(503, "Please try again")
        try:
            held = entitlement_of(claims["sub"])
        except OSError as e:
            log.warning("503: %s", e)
            return self.respond(503, "Please try again")
        if not held["entitled"]:
            return self.respond(402, "Please choose a plan")
        self.respond(200, f"Hello {claims['username']}, your plan is {held['plan']} ({held['status']})")

    def respond(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode() + b"\n")


if __name__ == "__main__":
    with sqlite3.connect("billing.db") as database:
        database.execute("CREATE TABLE IF NOT EXISTS refused (user_id text PRIMARY KEY, since bigint)")
    log.info("serving http://%s", os.environ["LISTEN"])
    host, port = os.environ["LISTEN"].split(":")
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()

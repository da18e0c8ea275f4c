"""A service that knows its users and what they may use (docs/integrate.md)."""

import logging
import os
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

from access import secrets, user_of
from entitlement import entitlement_of

KEYS = secrets()
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
    host, port = os.environ["LISTEN"].split(":")
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()

"""Asks the Identity Service what a user may use (docs/integrate.md)."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request


def entitlement_of(user_id):
    """Returns entitled, plan, status, until and version. An exception means that it is not known."""
    url = f"{os.environ['IDENTITY_URL']}/internal/users/{urllib.parse.quote(user_id, safe='')}/entitlement"
    request = urllib.request.Request(url, headers={"X-Internal-Key": os.environ["INTERNAL_KEY"]})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as e:
        if e.code == 404:  # deleted since the token was issued
            return {"entitled": False, "plan": None, "status": None, "until": None, "version": 0}
        raise

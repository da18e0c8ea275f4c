"""Has the items of a project counted (docs/integrate.md)."""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def call(project, method, path, body):
    """Repeats a request until it is known what has become of it. Every one of them may be repeated."""
    url = f"{os.environ['IDENTITY_URL']}/internal/projects/{urllib.parse.quote(project, safe='')}{path}"
    headers = {"X-Internal-Key": os.environ["INTERNAL_KEY"], "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    for _ in range(600):
        wait = 1
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as e:
            if e.code < 500 and e.code != 429:
                raise  # a repeat would change nothing
            wait, problem = int(e.headers.get("Retry-After") or 1), f"{e.code} {e.reason}"
        except (OSError, http.client.HTTPException) as e:
            problem = e  # it may have been counted, which does no harm
        print(f"repeated in {wait} s: {problem}", flush=True)
        time.sleep(wait)
    raise TimeoutError(url)


def main(project, user):
    def step(method, path, body):
        p = call(project, method, path, body)
        print(f"{p['status']}: {p['done']} of {p['total']} done, {p['errors']} failed, {p['percent']:.0f} %", flush=True)

    step("POST", "", {"user_id": user})
    step("PUT", "/total", {"total": 2, "final": False})  # more may be found
    step("POST", "/items", {"items": [{"item_id": "a1"}, {"item_id": "a2", "failed": True}]})
    step("POST", "/items", {"items": [{"item_id": "a2"}]})  # it has succeeded after all
    step("PUT", "/total", {"total": 3, "final": True})  # that is all
    step("POST", "/items", {"items": [{"item_id": "a3"}]})

    project += "-blocked"  # another one, which has to be given up
    step("POST", "", {"user_id": user})
    step("POST", "/fail", {"reason": "the crawler was blocked"})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: counter.py PROJECT USER")
    main(*sys.argv[1:])

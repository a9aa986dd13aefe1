"""A vendor's agent, as small as they get: python3 agent.py BASE_URL COUNT.

It posts COUNT reports as gzipped JSON with its key, one after the other, tries
again after a 503, and prints one line of JSON for each that it was told is done.
"""

import base64
import gzip
import json
import sys
import urllib.error
import urllib.request

base, count = sys.argv[1], int(sys.argv[2])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(path, body):
    for _ in range(100):
        request = urllib.request.Request(base + path, data=body, method="POST", headers={
            "Authorization": "ApiKey key-secret",
            "Content-Type": "application/json; charset=utf-8",
            "Content-Encoding": "gzip",
            "X-Vendor-Agent": "python 2.4.1",
        })
        try:
            with opener.open(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 503 or "Retry-After" not in error.headers:
                    raise
    raise SystemExit("told to come again a hundred times")


for n in range(count):
    report = [{"type": "Span", "id": f"{n}-{i}", "tags": {"text": "ü" * (n % 7), "n": i}} for i in range(1 + n * 20)]
    body = gzip.compress(json.dumps(report).encode(), mtime=n)
    path = f"/monitoring-data?n={n}&agent=py%2F3"
    status, answer = post(path, body)
    print(json.dumps({"path": path, "body": base64.b64encode(body).decode(), "status": status, "answer": answer}))

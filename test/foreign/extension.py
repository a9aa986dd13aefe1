#!/usr/bin/env python3
"""A Lambda extension that shares nothing with Slipstream.

It is written against AWS's documentation alone, in another language and with
the standard library only, so that the emulator is not judged by a client that
shares its misunderstandings. It subscribes to the API named in FOREIGN_API
(telemetry or logs), listens on FOREIGN_PORT (a free one without it), and writes
everything it receives as one line each to FOREIGN_OUT. It waits for nothing
before it calls next, and leaves after SHUTDOWN once the last invocation's report
has come, half a second before the deadline at the latest.
"""
import http.client
import http.server
import json
import os
import socket
import sys
import threading
import time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
OUT = open(os.environ["FOREIGN_OUT"], "a", buffering=1)
PORT = int(os.environ.get("FOREIGN_PORT", "0"))
LOCK = threading.Lock()
REPORTED = set()  # request ids


def write(kind, value):
    with LOCK:
        OUT.write(json.dumps({"from": kind, "event": value}) + "\n")


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for event in json.loads(body):
            write("subscription", event)
            if event["type"] == "platform.report":
                REPORTED.add(event["record"]["requestId"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def call(connection, method, path, headers, body=None):
    connection.request(method, path, body=json.dumps(body) if body is not None else None, headers=headers)
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        sys.exit(f"{method} {path}: {response.status} {text!r}")
    return response, text


def address():
    """Where to listen: outside of Lambda the name may be missing."""
    try:
        return socket.gethostbyname("sandbox.localdomain")
    except socket.gaierror:
        return "0.0.0.0"


def main():
    connection = http.client.HTTPConnection(API)
    name = os.path.basename(sys.argv[0])
    response, text = call(connection, "POST", "/2020-01-01/extension/register",
                          {"Lambda-Extension-Name": name, "Content-Type": "application/json"},
                          {"events": ["INVOKE", "SHUTDOWN"]})
    write("register", json.loads(text))
    identified = {"Lambda-Extension-Identifier": response.headers["Lambda-Extension-Identifier"]}

    server = http.server.ThreadingHTTPServer((address(), PORT), Receiver)
    write("listen", {"address": server.server_address[0]})
    threading.Thread(target=server.serve_forever, daemon=True).start()

    logs = os.environ.get("FOREIGN_API") == "logs"
    path = "/2020-08-15/logs" if logs else "/2022-07-01/telemetry"
    call(connection, "PUT", path, {**identified, "Content-Type": "application/json"}, {
        "schemaVersion": "2021-03-18" if logs else "2022-07-01",
        "types": ["platform", "function"],
        "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{server.server_port}/"},
    })
    last = None
    while True:
        _, text = call(connection, "GET", "/2020-01-01/extension/event/next", identified)
        event = json.loads(text)
        write("next", event)
        if event["eventType"] == "SHUTDOWN":
            while last not in REPORTED and time.time() < event["deadlineMs"] / 1000 - 0.5:
                time.sleep(0.01)
            return
        last = event["requestId"]


main()

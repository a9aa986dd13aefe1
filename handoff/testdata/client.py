"""Hands over what its input says: a line is a way, a name and a size."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
sys.dont_write_bytecode = True
import slipstream_handoff  # noqa: E402

http, directory, ipc, _, acknowledge, bound = sys.argv[1:7]
bounds = {"http_bound": int(bound) / 1000, "send_bound": int(bound) / 1000} if int(bound) else {}
client = slipstream_handoff.Client(http=http, directory=directory, path=ipc, rest=0,
                                   acknowledge=acknowledge == "true", **bounds)


def in_place(signal, body):
    buffer = client.buffer(len(body) + 10)
    buffer.memory[:len(body)] = body
    buffer.send(signal, len(body))


for line in sys.stdin:
    way, name, size = line.split()
    body = (name + " ").encode().ljust(int(size), b"x")
    error = ""
    try:
        {"post": client.post, "write": client.write, "send": client.send, "buffer": in_place}[way]("logs", body)
    except (OSError, ValueError, slipstream_handoff.Refused) as failure:
        error = str(failure)
    counts = " ".join(str(client.stats[name])
                      for name in ("http", "file", "ipc", "fallbacks", "timeouts", "refused", "failed"))
    print(counts, error, flush=True)

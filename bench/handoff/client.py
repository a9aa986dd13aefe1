"""The function's side of bench/handoff, in Python: see client/main.go."""

import os
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "handoff", "python"))
sys.dont_write_bytecode = True
import slipstream_handoff  # noqa: E402

SIZE = 1 << 20
way, address, directory, folder = sys.argv[1:5]
client = slipstream_handoff.Client(http=address, directory=directory, path=os.path.join(folder, "ipc.sock"), rest=0,
                                   acknowledge=way == "ipc_ack")
body = bytearray(os.urandom(SIZE))
n = 0
for _ in sys.stdin:
    n += 1
    body[0:8] = n.to_bytes(8, "little")
    if way in ("ipc", "ipc_ack"):
        buffer = client.buffer(SIZE)
        buffer.memory[:] = body
        begin, before = time.perf_counter_ns(), time.thread_time_ns()
        buffer.send("traces", SIZE)
    else:
        hand = {"http": client.post, "file": client.write, "ipc_copy": client.send}[way]
        begin, before = time.perf_counter_ns(), time.thread_time_ns()
        hand("traces", body)
    took, used = time.perf_counter_ns() - begin, time.thread_time_ns() - before
    stats = client.stats
    print(took, used, zlib.crc32(body), stats["http"], stats["file"], stats["ipc"], flush=True)

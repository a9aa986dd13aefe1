"""Hands telemetry from a function over to Slipstream's extension without
keeping the function waiting.

    client = slipstream_handoff.Client()
    client.post("traces", payload)   # HTTP: returns when the extension has it
    client.write("traces", payload)  # a file: the extension takes it later
    client.send("traces", payload)   # sealed memory through a Unix socket

A payload is the protobuf of one OTLP Export{Logs,Trace,Metrics}ServiceRequest.
post waits 50 ms at most, send 5 ms; then they write a file. Python 3.9 or
newer, the standard library only.
"""

import fcntl
import mmap
import os
import random
import socket
import struct
import threading
import time

MAX_BODY = 16 << 20
_SIGNALS = {"logs": 1, "traces": 2, "metrics": 3}
_HEADER = struct.Struct("<4sBBBBQQ")  # intake/handoff/message.go explains it
_MAGIC = b"SLH\x01"
_WANT_ANSWER, _IS_ANSWER = 1, 2
_TAKEN, _REFUSED = 0, 3
_SEALS = 1 | 2 | 4 | 8  # no more seals, no shrinking, no growing, no writing
_QUEUE_BYTES = 2 << 10  # bounds the messages that lie in the socket unread: about sixteen
_ADD_SEALS = getattr(fcntl, "F_ADD_SEALS", 1033)
_MAX_FILES, _MAX_TOTAL = 10_000, 256 << 20  # of the directory, when nobody takes the files
_CHECK_FILES, _CHECK_BYTES = 256, 32 << 20  # it is looked through after so many


class Refused(Exception):
    """The extension has looked at the payload and does not take it."""


class _Full(TimeoutError):
    """The socket's queue is full."""


class Buffer:
    """Memory that is handed over as it is: write to .memory, then send."""

    def __init__(self, client, size):
        if not 0 < size <= MAX_BODY:
            raise ValueError(f"make a hand-off buffer of {size} bytes: at least 1, at most {MAX_BODY}")
        self._client = client
        self._fd = os.memfd_create("slipstream", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self._fd, size)
            populate = getattr(mmap, "MAP_POPULATE", 0)
            self.memory = mmap.mmap(self._fd, size, mmap.MAP_SHARED | populate)
            self.memory.madvise(mmap.MADV_RANDOM)  # unmapping, which send does, then takes half the time
        except BaseException:
            os.close(self._fd)
            raise

    def release(self):
        """Gives the memory back without sending it."""
        if self.memory is not None:
            self.memory.close()
            self.memory = None
            os.close(self._fd)

    def send(self, signal, size):
        """Hands the first size bytes over, or else writes them to a file. Views
        of the memory have to be released before. The Buffer is used up."""
        client = self._client
        if self.memory is None or not 0 <= size <= len(self.memory):
            raise client._fail(ValueError(f"hand over {size} bytes of a buffer that has not as many"))
        self.memory.close()  # memory that is mapped to be written cannot be sealed
        self.memory = None
        try:
            client._hand(signal, size, "ipc", client._send_bound,
                         lambda key, deadline: client._pass(key, signal, self._fd, size, deadline),
                         lambda: os.pread(self._fd, size, 0))
        finally:
            os.close(self._fd)


class Client:
    """Hands payloads over; it may be used by several threads, and after a fork."""

    def __init__(self, http="127.0.0.1:4318", directory="/tmp/slipstream/handoff", path="/tmp/slipstream/ipc.sock",
                 http_bound=0.05, send_bound=0.005, rest=1.0, acknowledge=False):
        host, port = http.rsplit(":", 1)
        self._http, self._host = (host, int(port)), http.encode()
        self._directory, self._path = directory, path
        self._http_bound, self._send_bound, self._rest = http_bound, send_bound, rest
        self._acknowledge = acknowledge
        self._lock = threading.Lock()
        self.stats = dict.fromkeys(("http", "file", "ipc", "fallbacks", "timeouts", "refused", "failed"), 0)
        self._pid = None
        self._start()

    def _start(self):
        """Begins anew: a fork's child shares neither connections nor ids with its parent."""
        self._pid = os.getpid()
        self._prefix = (random.SystemRandom().getrandbits(31) | 1 << 31) << 32
        self._last = 0
        self._idle = {"http": [], "ipc": []}
        self._resting = {"http": 0.0, "ipc": 0.0}
        self._files = self._bytes = 0
        self._full = False

    def post(self, signal, body):
        """By HTTP; when it returns, the payload survives the extension's death."""
        self._hand(signal, len(body), "http", self._http_bound,
                   lambda key, deadline: self._post(key, signal, body, deadline), lambda: body)

    def send(self, signal, body):
        """A copy in sealed memory; buffer() saves the copy."""
        def copied(key, deadline):
            fd = os.memfd_create("slipstream", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                _write(fd, body)
                self._pass(key, signal, fd, len(body), deadline)
            finally:
                os.close(fd)
        self._hand(signal, len(body), "ipc", self._send_bound, copied, lambda: body)

    def write(self, signal, body):
        """As a file, which the extension takes when the function has answered."""
        self._check(signal, len(body))
        self._write_file(self._key(), signal, body)

    def buffer(self, size):
        """Memory to write a payload to that is not copied any more."""
        return Buffer(self, size)

    def close(self):
        with self._lock:
            for connection in self._idle["http"] + self._idle["ipc"]:
                connection.close()
            self._idle = {"http": [], "ipc": []}

    def _count(self, name):
        with self._lock:
            self.stats[name] += 1

    def _fail(self, error):
        self._count("failed")
        return error

    def _check(self, signal, size):
        if signal not in _SIGNALS:
            raise self._fail(ValueError(f"hand over: no signal is called {signal!r} (use logs, traces or metrics)"))
        if size > MAX_BODY:
            raise self._fail(ValueError(f"hand over {signal}: {size} bytes, at most {MAX_BODY} (split the request)"))

    def _key(self):
        if os.getpid() != self._pid:
            self._lock = threading.Lock()  # a thread of the parent may have held it
            self._start()
        with self._lock:
            self._last += 1
            return self._prefix | self._last

    def _hand(self, signal, size, way, bound, attempt, body):
        """Tries a way within its bound, else writes a file under the same id."""
        self._check(signal, size)
        key, now = self._key(), time.monotonic()
        if now >= self._resting[way]:
            try:
                attempt(key, now + bound)
                self._count(way)
                return
            except Refused:
                self._count("refused")
                raise
            except (TimeoutError, BlockingIOError):  # socket.timeout before 3.10 is an OSError too
                self._count("timeouts")
                self._resting[way] = time.monotonic() + self._rest
            except OSError as error:
                if isinstance(error, socket.timeout):
                    self._count("timeouts")
                    self._resting[way] = time.monotonic() + self._rest
        self._write_file(key, signal, body())
        self._count("fallbacks")

    def _use(self, way, dial, attempt, deadline):
        """Tries a connection that was used before, then a new one."""
        while True:
            with self._lock:
                connection = self._idle[way].pop() if self._idle[way] else None
            used = connection is not None
            if not used:
                connection = dial(deadline)
            keep = False
            try:
                keep = attempt(connection)
                return
            except _Full:
                keep = True  # a new connection would only get another queue
                raise
            except (Refused, socket.timeout, TimeoutError, BlockingIOError):
                raise
            except OSError:
                if not used:
                    raise
            finally:
                with self._lock:
                    if keep and len(self._idle[way]) < 4:
                        self._idle[way].append(connection)
                    else:
                        connection.close()

    def _post(self, key, signal, body, deadline):
        head = b"POST /v1/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-protobuf\r\n" \
            b"Slipstream-Id: %016x\r\nContent-Length: %d\r\n\r\n" % (signal.encode(), self._host, key, len(body))

        def dial(deadline):
            connection = socket.create_connection(self._http, _left(deadline))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection

        def attempt(connection):
            connection.settimeout(_left(deadline))
            _send_all(connection, [head, body], deadline)
            status, keep = _answer(connection, deadline)
            if status in (400, 413, 415):
                raise Refused(f"hand over {signal}: status {status}")
            if status != 200:
                raise ConnectionError(f"status {status}")
            return keep

        self._use("http", dial, attempt, deadline)

    def _pass(self, key, signal, fd, size, deadline):
        fcntl.fcntl(fd, _ADD_SEALS, _SEALS)
        flags = _WANT_ANSWER if self._acknowledge else 0
        message = _HEADER.pack(_MAGIC, _SIGNALS[signal], flags, 0, 0, key, size)

        def dial(deadline):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE_BYTES)
                connection.settimeout(_left(deadline))
                connection.connect(self._path)
            except BaseException:
                connection.close()
                raise
            return connection

        def attempt(connection):
            connection.settimeout(_left(deadline))
            try:
                socket.send_fds(connection, [message], [fd])
            except (socket.timeout, BlockingIOError) as error:
                raise _Full() from error
            if not self._acknowledge:
                return True
            connection.settimeout(_left(deadline))
            answer = connection.recv(_HEADER.size)
            if len(answer) < _HEADER.size:
                raise ConnectionError("gone without an answer")
            _, _, kind, status, _, answered, _ = _HEADER.unpack(answer)
            if kind != _IS_ANSWER or answered != key:
                raise ConnectionError("an answer to something else")
            if status == _REFUSED:
                raise Refused(f"hand over {signal}: refused")
            if status != _TAKEN:
                raise ConnectionError("the extension has no room")
            return True

        self._use("ipc", dial, attempt, deadline)

    def _write_file(self, key, signal, body):
        name = f"{key:016x}.{signal}"
        temporary = os.path.join(self._directory, name + ".tmp")
        try:
            self._room(len(body))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            try:
                fd = os.open(temporary, flags, 0o600)
            except FileNotFoundError:  # the first file, before the extension has made the directory
                parent = os.path.dirname(self._directory)
                os.makedirs(parent, 0o700, exist_ok=True)
                os.makedirs(self._directory, 0o700, exist_ok=True)
                fd = os.open(temporary, flags, 0o600)
            try:
                _write(fd, body)
            finally:
                os.close(fd)
            os.rename(temporary, os.path.join(self._directory, f"{time.time_ns():019d}-{name}"))
        except OSError:
            self._count("failed")
            try:
                os.remove(temporary)
            except OSError:
                pass  # or the extension does, in a minute
            raise
        self._count("file")

    def _room(self, size):
        """Looks from time to time whether the directory still gets emptied."""
        self._files += 1
        self._bytes += size
        if self._full or self._files >= _CHECK_FILES or self._bytes >= _CHECK_BYTES:
            self._files = self._bytes = 0
            try:
                sizes = [entry.stat().st_size for entry in os.scandir(self._directory)]
            except OSError:
                sizes = []
            self._full = len(sizes) >= _MAX_FILES or sum(sizes) >= _MAX_TOTAL
        if self._full:
            raise OSError(f"{self._directory} is full (is the extension there?)")


def _left(deadline):
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("the bound has passed")
    return left


def _write(fd, body):
    view = memoryview(body).cast("B")
    while view:
        view = view[os.write(fd, view):]


def _send_all(connection, parts, deadline):
    views = [memoryview(part).cast("B") for part in parts]
    while views:
        sent = connection.sendmsg(views)
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if views:
            views[0] = views[0][sent:]
            connection.settimeout(_left(deadline))


def _answer(connection, deadline):
    """Reads an HTTP answer: its status, and whether the connection can be used again."""
    data = b""
    while b"\r\n\r\n" not in data:
        connection.settimeout(_left(deadline))
        more = connection.recv(4096)
        if not more or len(data) > 64 << 10:
            raise ConnectionError("no HTTP answer")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    try:
        version, status = lines[0].split(" ")[0:2]
        status = int(status)
        fields = {name.strip().lower(): value.strip().lower()
                  for name, _, value in (line.partition(":") for line in lines[1:])}
        left = int(fields.get("content-length", -1)) - len(rest)
    except ValueError:
        raise ConnectionError("not an HTTP answer") from None
    if version != "HTTP/1.1" or fields.get("connection") == "close" or not 0 <= left <= 64 << 10:
        return status, False
    try:
        while left > 0:
            connection.settimeout(_left(deadline))
            more = connection.recv(left)
            if not more:
                return status, False
            left -= len(more)
    except OSError:
        return status, False  # the status counts
    return status, True

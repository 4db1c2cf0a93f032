# SPDX-License-Identifier: Apache-2.0
"""Hours of mixed load with faults on one gateway: nothing may grow, no answer may be unexpected, and the books must add
up. The gateway is on PostgreSQL behind a pipe that can be cut, has two upstreams, metrics, its own signals and
developers' telemetry turned on.

Load: small and large bodies, streams, clients that leave in the middle, slow readers, wrong bearers, sign-ins and
refreshes, counts, models, settings, admin reads, telemetry. Faults: upstreams that answer 429, 500, 529, reset before
and within an answer, stall, and are restarted; a dead collector; PostgreSQL restarted, stopped and killed; connections
to it cut; reloads by SIGHUP.

What "does not grow" means: a line is fitted through the second half of the samples, by the means of twelve stretches
of it. Resident memory fails when the growth over that half is, with 99 % certainty, above 2 % an hour and 1 MiB; 4 MiB
in runs of less than ten minutes, within which allocators and caches settle. In long runs the 2 % are what counts.
Descriptors fail when they grow in that sense by more than 2 % and 4, or when more than 8 more are open without load at
the end than at the beginning; threads when more than 2 more are.
"""
import argparse
import asyncio
import collections
import contextlib
import json
import math
import os
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

import bodies
import stand
from stand import Failure, Gateway, IdentityProvider, Pipe, Postgres, Stand, anthropic

INPUT, OUTPUT = 3000, 15000  # Billionths of a dollar a token.
STALL = 1.5
STRETCHES = 12
# A one-sided 99 % quantile of Student's distribution with so many degrees of freedom (stretches less two).
QUANTILE = 2.764
# How long a fault may be felt after it has ended.
ECHO = 4


def soft_reset(writer):
    """Closes a connection so that the other side is told of a reset."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Left(Exception):
    """A client that has had enough of an answer."""


async def read_head(reader):
    """The first line and the fields of a message; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return first, fields


# MARK: The upstreams


async def serve_upstream(port, name):
    """Does what the text of a prompt asks for: `soak:MODE:INPUT:OUTPUT;`. Faults marked `once` are upstream a's."""

    def json_answer(status, value):
        body = json.dumps(value).encode()
        return (f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nrequest-id: req_{name}\r\n"
                f"content-length: {len(body)}\r\n\r\n").encode() + body

    def error(status, kind):
        return json_answer(status, {"type": "error", "error": {"type": kind, "message": "as asked"}})

    async def stream(writer, mode, tokens_in, tokens_out):
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
            b"request-id: req_" + name.encode() + b"\r\n\r\n")
        deltas, pause, text = {
            "stream": (20, 0.03, "some words"), "big": (400, 0, "many words " * 200),
            "leave": (100, 0.05, "some words"),
            "reset-middle": (6, 0.02, "some words"), "stall-middle": (6, 0.5, "some words"),
        }[mode]
        for event in bodies.stream_events(deltas, text):
            if event["type"] == "message_start":
                event["message"]["usage"]["input_tokens"] = tokens_in
            if event["type"] == "message_delta":
                event["usage"]["output_tokens"] = tokens_out
            if mode == "reset-middle" and event["type"] == "content_block_stop":
                soft_reset(writer)
                return False
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
            if pause and event["type"] == "content_block_delta":
                await asyncio.sleep(pause)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def answer(path, body, writer):
        found = re.search(rb"soak:([a-z0-9-]+):(\d+):(\d+);", body)
        if path.endswith("count_tokens"):
            writer.write(json_answer(200, {"input_tokens": 7}))
            return True
        mode, tokens_in, tokens_out = found[1].decode(), int(found[2]), int(found[3])
        if mode.startswith("once-") and name == "a":
            mode = mode.removeprefix("once-")
            if mode == "reset":
                soft_reset(writer)
                return False
            if mode == "stall":
                await asyncio.sleep(STALL * 3)
                return False
            writer.write(error(int(mode), "api_error"))
            return True
        if mode.startswith("all-"):
            writer.write(error(int(mode.removeprefix("all-")), "api_error"))
            return True
        if mode in ("json", "large") or mode.startswith("once-"):
            message = json.loads(bodies.ANSWER)
            message["usage"] = {"input_tokens": tokens_in, "output_tokens": tokens_out}
            writer.write(json_answer(200, message))
            return True
        return await stream(writer, mode, tokens_in, tokens_out)

    async def serve(reader, writer):
        try:
            while True:
                # Idle connections end soon, so that a gateway without load has none.
                head = await asyncio.wait_for(read_head(reader), 3)
                if head is None:
                    break
                first, fields = head
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                if not await answer(first.split()[1].split("?")[0], body, writer):
                    break
                await writer.drain()
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024, limit=1 << 20)
    async with server:
        await server.serve_forever()


# MARK: Clients


class Connection:
    """A client's connection: HTTP/1.1 as far as it is needed here."""

    def __init__(self, port, buffer=None):
        self.port, self.buffer = port, buffer
        self.reader = self.writer = None

    async def open(self):
        sock = socket.socket()
        sock.setblocking(False)
        if self.buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=self.buffer or 1 << 16)

    def close(self, abruptly=False):
        if self.writer:
            if abruptly:
                soft_reset(self.writer)
            else:
                self.writer.close()
        self.reader = self.writer = None

    async def send(self, method, path, body=b"", headers=None, on_piece=None):
        """Status, body, and whether it came whole."""
        if self.writer is None or self.writer.is_closing():
            await self.open()
        lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{self.port}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        head = await read_head(self.reader)
        if head is None:
            raise ConnectionResetError("no answer")
        first, fields = head
        status, pieces = int(first.split()[1]), []

        async def piece(data):
            pieces.append(data)
            if on_piece:
                await on_piece(data)

        try:
            if fields.get("transfer-encoding") == "chunked":
                while size := int((await self.reader.readline()).strip() or b"0", 16):
                    left = size + 2
                    while left:
                        data = await self.reader.read(min(left, self.buffer or 1 << 16))
                        if not data:
                            raise ConnectionResetError("within a chunk")
                        left -= len(data)
                        await piece(data)
                end_ = await self.reader.readline()
                if end_ != b"\r\n":
                    raise ConnectionResetError("before the last chunk")
            elif status not in (204, 304):
                left = int(fields.get("content-length", 0))
                while left:
                    data = await self.reader.read(min(left, self.buffer or 1 << 16))
                    if not data:
                        raise ConnectionResetError("within the body")
                    left -= len(data)
                    await piece(data)
            is_whole = True
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            is_whole = False
        if not is_whole or fields.get("connection", "").lower() == "close":
            self.close()
        return status, b"".join(pieces), is_whole


class Soak:
    def __init__(self, where, options):
        self.stand, self.options = where, options
        self.random = random.Random(options.seed)
        self.answers, self.unexpected, self.faults = collections.Counter(), collections.Counter(), []
        self.log_lines, self.samples, self.problems = collections.Counter(), [], []
        self.serial = 0
        # By request id: when it began, and what it must cost; None where nobody can know.
        self.known = {}
        self.booked, self.checked = collections.Counter(), collections.Counter()
        self.settled_until = 0
        # Times at which something was out of order, by what: lists of [begin, end].
        self.windows = collections.defaultdict(list)
        self.is_loading, self.is_over = asyncio.Event(), False
        self.collector = None

    # MARK: Set-up

    def start(self):
        where = self.stand
        self.postgres = Postgres(where)
        self.database = self.postgres.make("soak")
        self.pipe = Pipe(where, self.postgres.port)
        self.provider = IdentityProvider(where, subjects=20)
        self.provider.prepare()
        self.upstreams = {name: stand.free_port() for name in "ab"}
        self.processes = {}
        for name in self.upstreams:
            self.start_upstream(name)
        where.later(lambda: [stand.end(process) for process in self.processes.values()])
        self.collector_port, self.metrics_port = stand.free_port(), stand.free_port()
        collector = f"http://127.0.0.1:{self.collector_port}"
        read, write = os.pipe()
        threading.Thread(target=self.read_log, args=(os.fdopen(read, "rb"),), daemon=True).start()
        self.gateway = Gateway(
            where, where.copy(self.options.binary), self.provider, "soak",
            self.postgres.url("soak", self.pipe.port),
            [anthropic(port, name=name) for name, port in self.upstreams.items()], log=write,
            admin=stand.admin(), timeouts={"upstream_ttfb_ms": int(STALL * 1000)},
            telemetry={"forward_to": [{"url": collector, "logs": True}], "verify_identity": "stamp"},
            observability={
                "metrics": {"listen": f"127.0.0.1:{self.metrics_port}"},
                "otlp": {"url": collector, "traces": True, "audit": True, "interval_seconds": 1},
            },
            rate_limits={
                "device_authorization": {"max": 1_000_000, "window_seconds": 600},
                "device_verify": {"max": 1_000_000, "window_seconds": 600},
            },
            enforcement={"journal_dir": where.path("journal")})
        os.mkdir(where.path("journal"))
        self.gateway.start()
        os.close(write)
        self.gateway.limit(10_000_000_000)
        self.bearers = [self.gateway.bearer(f"developer-{index}", lifetime=30 * 86400) for index in range(50)]

    def start_upstream(self, name):
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-B", os.path.abspath(__file__), "--serve", str(self.upstreams[name]), name],
            start_new_session=True)
        stand.wait_until(lambda: stand.accepts(self.upstreams[name]), 10, f"upstream {name}")

    def read_log(self, file):
        is_serving = False
        for line in file:
            if line.startswith(b'{"ts"'):
                continue
            text = line.decode(errors="replace").strip()
            words = text.split(" ", 3)
            level = words[2] if len(words) > 3 and words[0] == "[gateway]" else "?"
            message = re.split(r" [a-z_]+=", words[3])[0] if level != "?" else text[:200]
            message = message.replace(self.stand.folder, "")
            is_serving = is_serving or "listening on" in message
            # Before that a banner is printed. After it, what is not in the log's form comes from something that broke.
            if level != "?":
                self.log_lines[f"{level}: {message[:120]}"] += 1
            elif is_serving and text:
                self.problems.append(f"log: {text[:300]}")
            if "spend is lost" in text:
                self.problems.append(f"log: {text[:300]}")

    # MARK: Time

    @contextlib.contextmanager
    def window(self, *names):
        """Something is out of order meanwhile, and somewhat longer."""
        entries = [[time.monotonic(), math.inf] for _ in names]
        for name, entry in zip(names, entries):
            self.windows[name].append(entry)
        try:
            yield
        finally:
            for entry in entries:
                entry[1] = time.monotonic() + ECHO

    def disturbed(self, begin, *names):
        """Whether something of that was out of order since then."""
        return any(end > begin for name in names for _, end in self.windows[name][-20:])

    def expect(self, kind, status, allowed, detail=b""):
        self.answers[f"{kind} {status}"] += 1
        if status in allowed:
            return
        self.unexpected[f"{kind} {status}"] += 1
        if self.unexpected[f"{kind} {status}"] <= 3:
            text = f"{kind}: {status} instead of {sorted(map(str, allowed))}: {detail[:300]!r}"
            self.problems.append(text)
            print(text, file=sys.stderr)

    # MARK: Model requests

    async def message(self, connection, mode, bearer=None, leaves=None, slow=None, filler=""):
        """One request whose cost is known when its answer comes whole."""
        self.serial += 1
        request_id = f"soak-{self.serial}"
        tokens_in, tokens_out = self.random.randint(1, 5000), self.random.randint(1, 3000)
        streams = mode in ("stream", "big", "leave", "reset-middle", "stall-middle")
        body = {
            "model": stand.MODEL, "max_tokens": 4000, "stream": streams,
            "messages": [{"role": "user", "content": f"soak:{mode}:{tokens_in}:{tokens_out};{filler}"}],
        }
        headers = stand.post_headers(bearer or self.random.choice(self.bearers))
        headers["x-client-request-id"] = request_id
        begin, read = time.monotonic(), 0
        # Until it has ended, nobody knows.
        self.known[request_id] = (time.time(), None)

        async def on_piece(data):
            nonlocal read
            read += len(data)
            if slow:
                await asyncio.sleep(slow)
            if leaves and read > leaves:
                raise Left

        try:
            status, content, is_whole = await connection.send(
                "POST", "/v1/messages", json.dumps(body).encode(), headers, on_piece)
        except Left:
            connection.close(abruptly=self.random.random() < 0.5)
            self.answers[f"{mode} left"] += 1
            return
        except (OSError, asyncio.IncompleteReadError) as failure:
            connection.close()
            # The connection may have been closed as idle just when it was used.
            self.expect(mode, "no answer", set(), str(failure).encode())
            return
        if streams and status == 200:
            is_whole = is_whole and b"event: message_stop" in content and b"event: error" not in content
        if status == 200 and is_whole:
            self.known[request_id] = (self.known[request_id][0], tokens_in * INPUT + tokens_out * OUTPUT)
        elif status != 200:
            self.known[request_id] = (self.known[request_id][0], 0)
        outcome = status if is_whole else f"{status} cut"
        allowed = {200}
        if mode.startswith("all-"):
            # With one of the two away, the failure of the other is told in other words.
            allowed = {"all-429": {429}, "all-500": {502}, "all-529": {502}}[mode]
            if self.disturbed(begin, "a", "b"):
                allowed |= {429, 502, 503, 529}
        elif mode == "reset-middle":
            allowed = {"200 cut"}
        if self.disturbed(begin, "a", "b"):
            allowed |= {"200 cut"}
            if mode.startswith("once-"):
                allowed |= {429, 500, 502, 503, 529}
        self.expect(mode, outcome, allowed, content)

    async def client(self, modes, pause, **options):
        """A client that goes on and on with one connection, and takes a new one now and then."""
        connection = Connection(self.gateway.port, options.pop("buffer", None))
        while not self.is_over:
            await self.is_loading.wait()
            await self.message(connection, self.random.choice(modes), **options)
            if self.random.random() < 0.02 or not self.is_loading.is_set():
                connection.close()
            await asyncio.sleep(self.random.expovariate(1 / pause))
        connection.close()

    # MARK: Everything else

    async def others(self):
        """Requests that are not for a model."""
        connection = Connection(self.gateway.port)
        key = {"x-api-key": stand.ADMIN_KEY}
        day = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
        report = urllib.parse.urlencode({"starting_at": day, "group_by[]": "model"})
        count = json.dumps({"model": stand.MODEL, "messages": [{"role": "user", "content": "hi"}]}).encode()
        export = json.dumps({"resourceMetrics": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "soak"}}]},
            "scopeMetrics": [],
        }]}).encode()
        bearer = {"authorization": "Bearer " + self.bearers[0], "content-type": "application/json"}
        wrong = {"authorization": "Bearer wrong.wrong.wrong", "content-type": "application/json"}
        base = "/v1/organizations"
        requests = [
            ("wrong bearer", "POST", "/v1/messages", count, wrong, {401}, ()),
            ("no bearer", "GET", "/v1/models", b"", {}, {401}, ()),
            ("count", "POST", "/v1/messages/count_tokens", count, bearer, {200}, ()),
            ("models", "GET", "/v1/models", b"", bearer, {200}, ()),
            ("settings", "GET", "/managed/settings", b"", bearer, {200}, ()),
            ("telemetry", "POST", "/v1/metrics", export, bearer, {200}, ()),
            ("limits", "GET", base + "/spend_limits", b"", key, {200}, ("database",)),
            ("effective", "GET", base + "/spend_limits/effective?limit=20", b"", key, {200}, ("database",)),
            ("usage", "GET", f"{base}/usage_report/messages?{report}", b"", key, {200}, ("database",)),
            ("costs", "GET", f"{base}/cost_report?starting_at={day}", b"", key, {200}, ("database",)),
            ("sessions", "GET", base + "/sessions", b"", key, {200}, ("database",)),
            ("ready", "GET", "/readyz", b"", {}, {200}, ("database",)),
            ("health", "GET", "/healthz", b"", {}, {200}, ()),
        ]
        while not self.is_over:
            await self.is_loading.wait()
            kind, method, path, body, headers, allowed, needs = self.random.choice(requests)
            begin = time.monotonic()
            try:
                status, content, _ = await connection.send(method, path, body, headers)
            except (OSError, asyncio.IncompleteReadError) as failure:
                connection.close()
                self.expect(kind, "no answer", set(), str(failure).encode())
                continue
            if needs and self.disturbed(begin, *needs):
                allowed = allowed | {500, 502, 503}
            if kind == "count" and self.disturbed(begin, "a", "b"):
                allowed = allowed | {502}
            self.expect(kind, status, allowed, content)
            if not self.is_loading.is_set():
                connection.close()
            await asyncio.sleep(self.random.expovariate(20))
        connection.close()

    async def scrape(self):
        connection = Connection(self.metrics_port)
        while not self.is_over:
            await self.is_loading.wait()
            try:
                status, content, _ = await connection.send("GET", "/metrics")
                self.expect("metrics", status, {200} if b"claude_gateway_answers_total" in content else set())
            except (OSError, asyncio.IncompleteReadError) as failure:
                self.expect("metrics", "no answer", set(), str(failure).encode())
            connection.close()
            await asyncio.sleep(5)

    async def sign_in(self):
        """Few, because every new bearer stays known to a gateway until it ends."""
        while not self.is_over:
            await self.is_loading.wait()
            begin = time.monotonic()

            def failed(kind, answer):
                if self.disturbed(begin, "database"):
                    self.answers[f"{kind} failed without the database"] += 1
                else:
                    self.expect(kind, answer.status if answer else "no answer", {200}, answer.body if answer else b"")

            def whole():
                try:
                    answer = stand.sign_in(self.gateway.url)
                except (OSError, ValueError):
                    answer = None
                if not answer or answer.status != 200 or "access_token" not in (answer.json or {}):
                    return failed("sign-in", answer)
                self.expect("sign-in", 200, {200})
                form = urllib.parse.urlencode(
                    {"grant_type": "refresh_token", "refresh_token": answer.json["refresh_token"]})
                refreshed = stand.send(
                    self.gateway.url + "/oauth/token", "POST", form,
                    {"content-type": "application/x-www-form-urlencoded"})
                if refreshed.status != 200:
                    return failed("refresh", refreshed)
                self.expect("refresh", 200, {200})
                return refreshed.json["access_token"]

            bearer = await asyncio.to_thread(whole)
            if bearer:
                connection = Connection(self.gateway.port)
                await self.message(connection, "json", bearer)
                connection.close()
            await asyncio.sleep(15)

    async def collect(self):
        """The collector that takes developers' telemetry and the gateway's own signals."""

        async def serve(reader, writer):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                while head := await asyncio.wait_for(read_head(reader), 3):
                    await reader.readexactly(int(head[1].get("content-length", 0)))
                    self.answers["collector " + head[0].split()[1]] += 1
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                    await writer.drain()
            writer.close()

        self.collector = await asyncio.start_server(serve, "127.0.0.1", self.collector_port, limit=1 << 20)

    # MARK: Faults

    async def fault_upstream(self, name):
        with self.window(name):
            self.processes[name].kill()
            self.processes[name].wait()
            await asyncio.sleep(2)
            await asyncio.to_thread(self.start_upstream, name)

    async def fault_collector(self):
        self.collector.close()
        await asyncio.sleep(6)
        await self.collect()

    async def fault_database(self, mode, pause):
        with self.window("database"):
            await asyncio.to_thread(self.postgres.stop, mode)
            await asyncio.sleep(pause)
            await asyncio.to_thread(self.postgres.start)

    async def fault_cut(self, count):
        with self.window("database"):
            self.pipe.cut(count)

    async def fault_reload(self):
        """Another configuration, and a wrong one that must change nothing."""
        config = json.loads(json.dumps(self.gateway.config))
        config["login_notice"] = f"Notice {self.random.randrange(10**6)}"
        config["models"] = [{"id": f"model-{self.random.randrange(10)}", "upstream_model": {"a": stand.MODEL}}]
        if self.random.random() < 0.3:
            config["upstreams"] = []
        self.gateway.write(config)
        self.gateway.process.send_signal(signal.SIGHUP)
        await asyncio.sleep(1)

    async def make_faults(self):
        faults = [
            ("upstream a killed and started", lambda: self.fault_upstream("a")),
            ("reload", self.fault_reload),
            ("one connection to PostgreSQL cut", lambda: self.fault_cut(1)),
            ("collector dead for 6 s", self.fault_collector),
            ("PostgreSQL restarted", lambda: self.fault_database("fast", 0)),
            ("upstream b killed and started", lambda: self.fault_upstream("b")),
            ("reload", self.fault_reload),
            ("all connections to PostgreSQL cut", lambda: self.fault_cut(None)),
            ("PostgreSQL killed, away for 4 s", lambda: self.fault_database("immediate", 4)),
        ]
        turn = 0
        while not self.is_over:
            await self.is_loading.wait()
            await asyncio.sleep(self.options.fault_seconds)
            if self.is_over or not self.is_loading.is_set():
                continue
            name, action = faults[turn % len(faults)]
            turn += 1
            self.faults.append(name)
            await action()

    # MARK: Looking

    def look(self, phase):
        pid = self.gateway.pid
        sample = {
            "at": round(time.monotonic() - self.began, 2), "phase": phase, "rss_kib": stand.status_value(pid, "VmRSS"),
            "descriptors": stand.descriptors(pid), "threads": stand.status_value(pid, "Threads"),
            "cpu_s": stand.cpu_seconds(pid), "answers": sum(self.answers.values()),
        }
        self.samples.append(sample)
        return sample

    async def sampling(self):
        while not self.is_over:
            await asyncio.sleep(self.options.sample_seconds)
            if self.gateway.process.poll() is not None:
                raise Failure(f"the gateway has ended with {self.gateway.process.returncode}")
            if self.is_loading.is_set():
                sample = self.look("load")
                if self.options.verbose:
                    print(json.dumps(sample), file=sys.stderr)

    async def calm(self):
        """Without load, until connections that nobody uses are closed."""
        self.is_loading.clear()
        await asyncio.sleep(12)
        return self.look("calm")

    # MARK: The books

    async def settle(self, until):
        """Holds the ledger against what was answered, for requests that began before then."""
        rows = await asyncio.to_thread(
            stand.query, self.database,
            f"SELECT at, requests, nanodollars, request_ids FROM spend_ledger WHERE at >= {self.settled_until} "
            f"AND at < {int(until * 1000)}")
        for _, requests, amount, ids in rows:
            ids = ids.split()
            self.booked.update(ids)
            if int(requests) != len(ids):
                # The list ends with the 64th; the sum of them cannot be told.
                self.checked["entries with more ids than are listed"] += 1
                continue
            costs = [self.known.get(one, (0, "stranger"))[1] for one in ids]
            self.checked["entries"] += 1
            if "stranger" in costs:
                self.problems.append(f"books: nobody has sent {ids}")
            elif None in costs:
                self.checked["entries with a broken answer"] += 1
                if int(amount) < sum(cost or 0 for cost in costs):
                    self.problems.append(f"books: {ids} cost {amount}, and the whole ones of them more")
            elif int(amount) != sum(costs):
                self.problems.append(f"books: {ids} cost {amount} instead of {sum(costs)}")
        # An entry has the time of its first request, by the gateway's reading: others of it may have begun later.
        for one in [one for one, (began, _) in self.known.items() if began < until - 5]:
            cost = self.known.pop(one)[1]
            times = self.booked.pop(one, 0)
            if cost is None:
                self.checked["broken answers"] += 1
                self.checked["broken answers that are booked"] += times > 0
                continue
            self.checked["answers"] += 1
            if times != (1 if cost > 0 else 0):
                self.problems.append(f"books: {one}, which cost {cost}, is booked {times} times")
        self.settled_until = int(until * 1000)

    async def settling(self):
        """In between, so that hours of ids need no room. Nothing is booked later than some seconds after an outage."""
        while not self.is_over:
            await asyncio.sleep(60)
            if self.disturbed(time.monotonic(), "database"):
                continue
            try:
                await self.settle(time.time() - 180)
            except Failure as failure:
                print(f"the books could not be read: {failure}", file=sys.stderr)

    def check_counters(self):
        ledger = dict(stand.query(
            self.database, "SELECT principal, sum(nanodollars)::bigint FROM spend_ledger GROUP BY principal"))
        days = dict(stand.query(
            self.database, "SELECT principal, sum(nanodollars)::bigint FROM spend_daily GROUP BY principal"))
        counters = dict(stand.query(
            self.database,
            "SELECT principal, sum(nanodollars)::bigint FROM spend WHERE period ~ '^....-..-..$' GROUP BY principal"))
        if not ledger == days == counters:
            self.problems.append("books: ledger, days and counters differ")
        return sum(map(int, ledger.values()))

    # MARK: All of it

    async def run(self):
        load = self.options.load
        tasks = [self.others() for _ in range(max(1, round(2 * load)))]
        tasks += [self.client(["json"], 0.1) for _ in range(max(1, round(6 * load)))]
        tasks += [self.client(["large"], 0.2, filler="x \u00e9\n" * 25_000) for _ in range(max(1, round(2 * load)))]
        tasks += [self.client(["stream"], 0.2) for _ in range(max(1, round(16 * load)))]
        tasks += [self.client(["leave"], 0.3, leaves=2000) for _ in range(max(1, round(3 * load)))]
        tasks += [self.client(["big"], 0.5, slow=0.002, buffer=4096) for _ in range(max(1, round(2 * load)))]
        tasks += [self.client(
            ["once-429", "once-500", "once-529", "once-reset", "all-429", "all-500", "all-529", "reset-middle",
             "stall-middle"], 0.3) for _ in range(max(1, round(2 * load)))]
        tasks += [self.client(["once-stall"], 5)]
        tasks += [self.scrape(), self.sign_in()]
        await self.collect()
        clients = [asyncio.create_task(task) for task in tasks]
        helpers = [asyncio.create_task(task) for task in (self.make_faults(), self.sampling(), self.settling())]
        running = clients + helpers
        self.began = time.monotonic()
        seconds = self.options.minutes * 60
        self.is_loading.set()

        async def stay(duration):
            done, _ = await asyncio.wait(running, timeout=duration, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()

        # What is opened with the first load stays: that is no growth.
        await stay(min(60, seconds / 5))
        before = await self.calm()
        self.loaded_from = time.monotonic() - self.began
        self.is_loading.set()
        await stay(seconds)
        after = await self.calm()
        self.is_over = True
        self.is_loading.set()
        for task in helpers:
            task.cancel()
        await asyncio.wait(clients, timeout=30)
        for task in clients:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        # What the journal still has is booked now.
        await asyncio.sleep(6)
        await self.settle(time.time())
        total = await asyncio.to_thread(self.check_counters)
        begin = time.monotonic()
        status = await asyncio.to_thread(stand.end, self.gateway.process, signal.SIGTERM, 60)
        if status != 0:
            self.problems.append(f"end: the gateway has ended with {status}")
        if time.monotonic() - begin > 10:
            self.problems.append(f"end: without a request it took {time.monotonic() - begin:.0f} s to stop")
        self.collector.close()
        return before, after, total


def growth(samples, key):
    """Growth over the samples' time by a line through the means of stretches, and how sure it is: the least that it is
    with 99 % certainty.
    """
    first, last = samples[0]["at"], samples[-1]["at"]
    stretches = collections.defaultdict(list)
    for sample in samples:
        place = min(STRETCHES - 1, int((sample["at"] - first) / max(1e-9, last - first) * STRETCHES))
        stretches[place].append(sample)
    points = [
        (statistics.mean(one["at"] for one in stretch), statistics.mean(one[key] for one in stretch))
        for stretch in stretches.values()
    ]
    if len(points) < 4:
        return None
    mean_x, mean_y = (statistics.mean(values) for values in zip(*points))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    error = math.sqrt(rest / (len(points) - 2) / spread)
    lasted = last - first
    return {
        "mean": mean_y, "growth": slope * lasted, "at_least": (slope - QUANTILE * error) * lasted,
        "per_hour": slope * 3600, "hours": lasted / 3600,
    }


def judge(soak, before, after):
    """What fails."""
    failures = []
    loaded = [sample for sample in soak.samples if sample["phase"] == "load" and sample["at"] >= soak.loaded_from]
    half = loaded[len(loaded) // 2:]
    trends = {}
    for key in ("rss_kib", "descriptors", "threads"):
        trends[key] = growth(half, key) if len(half) >= 4 else None
        if trends[key] is None:
            failures.append(f"too few samples of {key}: take more minutes")
    memory, files = trends["rss_kib"], trends["descriptors"]
    settling = 1024 if soak.options.minutes >= 10 else 4096
    if memory and memory["at_least"] > memory["mean"] * 0.02 * memory["hours"] + settling:
        failures.append(f"resident memory grows by {memory['per_hour'] / 1024:.1f} MB an hour")
    if files and files["at_least"] > files["mean"] * 0.02 + 4:
        failures.append(f"descriptors grow by {files['per_hour']:.0f} an hour")
    if after["descriptors"] > before["descriptors"] + 8:
        failures.append(f"without load {after['descriptors']} descriptors are open, at first {before['descriptors']}")
    if after["threads"] > before["threads"] + 2:
        failures.append(f"without load there are {after['threads']} threads, at first {before['threads']}")
    failures += [f"unexpected: {key}, {count} times" for key, count in soak.unexpected.items()]
    failures += [problem for problem in soak.problems if problem.startswith(("books", "log", "end"))][:20]
    return failures, trends


def main():
    if sys.argv[1:2] == ["--serve"]:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve_upstream(int(sys.argv[2]), sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float)
    parser.add_argument("binary", nargs="?", default=".build-release/release/claude")
    parser.add_argument("--load", type=float, default=1, help="times the usual load (1)")
    parser.add_argument("--fault-seconds", type=float, default=8, help="between two faults (8)")
    parser.add_argument("--sample-seconds", type=float, default=3, help="between two looks (3)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="prints each sample")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    facts = stand.machine(options.binary)
    with Stand("soak") as where:
        soak = Soak(where, options)
        soak.start()
        before, after, total = asyncio.run(soak.run())
        failures, trends = judge(soak, before, after)
        loaded = [sample for sample in soak.samples if sample["phase"] == "load"]
        seconds = soak.samples[-1]["at"]
        print(f"{seconds / 60:.1f} minutes, {sum(soak.answers.values())} answers, {len(soak.faults)} faults")
        for title, counts in (("answers", soak.answers), ("faults", collections.Counter(soak.faults)),
                              ("log", soak.log_lines), ("books", soak.checked)):
            print(title)
            for key, value in sorted(counts.items()):
                print(f"  {value:>9} {key}")
        print(f"booked: {total / 1e9:.2f} dollars")
        for key, trend in trends.items():
            if trend:
                print(
                    f"{key:<12} first {loaded[0][key]}, last {loaded[-1][key]}, highest "
                    f"{max(one[key] for one in loaded)}; second half: mean {trend['mean']:.0f}, "
                    f"{trend['per_hour']:+.0f} an hour; without load {before[key]} at first, {after[key]} at the end")
        for failure in failures:
            print("FAILED " + failure)
        if not failures:
            print("passed")
        if options.json:
            with open(options.json, "w") as file:
                json.dump({
                    "machine": facts, "options": vars(options), "answers": soak.answers, "faults": soak.faults,
                    "log": soak.log_lines, "books": soak.checked, "nanodollars": total, "trends": trends,
                    "before": before, "after": after, "failures": failures, "problems": soak.problems[:200],
                    "samples": soak.samples,
                }, file, indent=1)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

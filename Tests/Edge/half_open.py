#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Thousands of connections that begin something and never end it.

  half_open.py PORT PID [COUNT]         over plain HTTP
  half_open.py PORT PID COUNT CA        over TLS and HTTP/2

PID is the gateway's, on this machine. All must be closed by the gateway, as is seen in its sockets: this end lets go of
nothing before. Meanwhile others are served, and memory stays bounded.
"""
import collections, multiprocessing, os, resource, select, socket, ssl, statistics, struct, sys, threading
import time
from concurrent.futures import ThreadPoolExecutor

PORT, PID = int(sys.argv[1]), int(sys.argv[2])
COUNT = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
CA = sys.argv[4] if len(sys.argv) > 4 else None
WORKERS = 2
# Seconds until the last is closed, and what one may take of the gateway's memory.
PATIENCE, BYTES_EACH = 90, (64 if CA else 40) << 10
MEDIAN, WORST = 0.25, 1.0

Phase = collections.namedtuple("Phase", "name head limit drip answer tls", defaults=(b"", b"", False))


def request(line, length, body, *headers):
    head = "\r\n".join([f"{line} HTTP/1.1", "Host: 127.0.0.1", *headers, f"Content-Length: {length}", "", ""])
    return head.encode() + body


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def client_hello():
    out = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return out.read()


# 12 s are given until the first head is whole, and 60 s from one piece of a body to the next.
FIRST, BODY = 20, 75
if CA is None:
    PHASES = [
        Phase("says nothing", b"", FIRST),
        Phase("half a request line", b"GET /heal", FIRST),
        Phase("a head without an end, drop by drop", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Drip: ", FIRST, b"x"),
        Phase("a third of a stranger's prompt", request(
            "POST /v1/messages", 1_000_000, b" " * 333_333, "Authorization: Bearer nobody's",
            "Content-Type: application/json"), FIRST, answer=b"HTTP/1.1 401 "),
        Phase("a third of a form", request(
            "POST /oauth/token", 60_000, b"grant_type=" + b"x" * 20_000,
            "Content-Type: application/x-www-form-urlencoded"), BODY),
    ]
else:
    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    OPEN = PREFACE + frame(4, 0, 0) + frame(4, 1, 0)
    PHASES = [
        Phase("says nothing", b"", FIRST),
        Phase("half a ClientHello", client_hello()[:100], FIRST),
        Phase("says nothing after the handshake", b"", FIRST, tls=True),
        Phase("half a preface", PREFACE[:12], FIRST, tls=True),
        Phase("HEADERS without an end", OPEN + frame(1, 0, 1, b"\x82\x87\x84"), FIRST, tls=True),
        Phase("HEADERS without an end, drop by drop",
              OPEN + frame(1, 0, 1, b"\x82\x87\x84") + b"\0\x40\0\x09\0\0\0\0\1", FIRST, b"x", tls=True),
    ]


class Client:
    """One connection: what is left to send, what came, and when the other end had enough."""

    def __init__(self, phase, number):
        self.phase, self.rest, self.answer = phase, memoryview(phase.head), b""
        self.ended = None
        # 28,000 ports are few for several rounds from one address.
        self.source = (f"127.0.0.{2 + number % 8}", 0)

    def begin(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        self.socket.bind(self.source)
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", PORT))

    def shake_hands(self):
        context = ssl.create_default_context(cafile=CA)
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", PORT), timeout=30, source_address=self.source)
        secured = context.wrap_socket(raw, server_hostname="localhost")
        assert secured.selected_alpn_protocol() == "h2"
        if self.rest:
            secured.sendall(self.rest)
        self.secured, self.rest = secured, memoryview(b"")
        # What comes is not read, only that it ends.
        self.socket = socket.socket(fileno=os.dup(secured.fileno()))
        self.socket.setblocking(False)
        self.opened = time.monotonic()

    def drip(self):
        try:
            (self.secured if self.phase.tls else self.socket).send(self.phase.drip)
        except OSError:
            pass


def worker(phases, numbers, pipe):
    """Opens its share, and tells how each ended when it is asked to."""
    clients = [Client(phases[number % len(phases)], number) for number in numbers]
    poll, by_number, waiting = select.epoll(), {}, collections.deque(clients)

    def watch(client, events):
        by_number[client.socket.fileno()] = client
        poll.register(client.socket, events)

    if any(phase.tls for phase in phases):
        secured = [client for client in clients if client.phase.tls]
        with ThreadPoolExecutor(16) as pool:
            for _ in pool.map(Client.shake_hands, secured):
                pass
        for client in secured:
            watch(client, select.EPOLLIN)
        waiting = collections.deque(client for client in clients if not client.phase.tls)
    connecting, told, next_drip = 0, False, time.monotonic() + 3
    while True:
        while waiting and connecting < 200:
            client = waiting.popleft()
            client.begin()
            client.opened, connecting = None, connecting + 1
            watch(client, select.EPOLLIN | select.EPOLLOUT)
        for number, events in poll.poll(0.1):
            client = by_number[number]
            now = time.monotonic()
            if client.opened is None and events & (select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP):
                client.opened, connecting = now, connecting - 1
            if events & select.EPOLLOUT:
                try:
                    while client.rest:
                        client.rest = client.rest[client.socket.send(client.rest):]
                except BlockingIOError:
                    pass
                except OSError:
                    client.rest = memoryview(b"")
            if events & (select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP) and client.ended is None:
                try:
                    data = client.socket.recv(65536)
                    client.answer += data[:64]
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    client.ended = now - client.opened
            if events & select.EPOLLHUP or client.ended is not None and not client.rest:
                poll.unregister(client.socket)
            else:
                wanted = select.EPOLLOUT if client.rest else 0
                poll.modify(client.socket, wanted | (select.EPOLLIN if client.ended is None else 0))
        if time.monotonic() > next_drip:
            next_drip = time.monotonic() + 3
            for client in clients:
                if client.phase.drip and client.ended is None and client not in waiting:
                    client.drip()
        if not told and not waiting and not connecting:
            told = True
            pipe.send("open")
        if pipe.poll():
            pipe.recv()
            pipe.send([(client.phase.name, client.ended, client.answer) for client in clients])
            return


def memory():
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


def held():
    """Connections that the gateway has accepted and not closed."""
    with open(f"/proc/{PID}/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    # Its state (10 is listening), and whether any process has it.
    return sum(row[1].endswith(f":{PORT:04X}") and row[3] != "0A" and row[9] != "0" for row in rows)


def healthz():
    """Seconds that a request over a new connection takes."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if CA is not None:
            connection = ssl.create_default_context(cafile=CA).wrap_socket(connection, server_hostname="localhost")
        with connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := connection.recv(4096):
                answer += data
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"/healthz: {answer[:40]}")
    return time.monotonic() - start


class Prober(threading.Thread):
    def __init__(self):
        super().__init__()
        self.times, self.faults, self.stopping = [], [], threading.Event()
        self.start()

    def run(self):
        while not self.stopping.wait(0.1):
            try:
                self.times.append(healthz())
            except OSError as error:
                self.faults.append(f"/healthz: {error}")


def mib(size):
    return f"{size / 2**20:.0f} MiB"


def one_round(title, phases, patience, faults):
    """Opens them all, and waits until the gateway has closed them. Returns the memory at its peak."""
    base_memory = memory()
    prober, pipes, processes = Prober(), [], []
    for index in range(WORKERS):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=worker, args=(phases, range(index, COUNT, WORKERS), theirs))
        process.start()
        pipes.append(ours)
        processes.append(process)
    peak, most, begun, opened = 0, 0, time.monotonic(), None
    left = set(pipes)
    while True:
        time.sleep(0.25)
        now = held()
        peak, most = max(peak, memory()), max(most, now)
        for pipe in list(left):
            if pipe.poll():
                pipe.recv()
                left.discard(pipe)
        if opened is None and not left:
            opened = time.monotonic()
        # One may be the prober's.
        is_closed = opened is not None and now <= 1
        if is_closed or time.monotonic() - (opened or begun) > patience:
            break
    closed_after = time.monotonic() - (opened or begun)
    results = collections.defaultdict(list)
    for pipe in pipes:
        pipe.send("end")
        for name, ended, answer in pipe.recv():
            results[name].append((ended, answer))
    for process in processes:
        process.join()
    prober.stopping.set()
    prober.join()

    print(f"-- {title}: {COUNT} connections, opened within {(opened or begun) - begun:.1f} s")
    for phase in phases:
        ends = [ended for ended, _ in results[phase.name]]
        open_still = ends.count(None)
        done = sorted(ended for ended in ends if ended is not None)
        span = f"{done[0]:.1f} to {done[-1]:.1f} s" if done else "never"
        answered = sum(answer.startswith(phase.answer) for _, answer in results[phase.name]) if phase.answer else 0
        print(f"{phase.name} | {len(ends)} | closed after {span}, {open_still} not"
              + (f" | {answered} answered {phase.answer.decode().split()[1]}" if phase.answer else ""))
        if open_still:
            faults.append(f"{title}: {phase.name}: {open_still} of {len(ends)} were not closed")
        if done and done[-1] > phase.limit:
            faults.append(f"{title}: {phase.name}: closed after {done[-1]:.1f} s, expected {phase.limit}")
        if phase.answer and answered < len(ends):
            faults.append(f"{title}: {phase.name}: {answered} of {len(ends)} were answered {phase.answer.decode()}")
    each = (peak - base_memory) / COUNT
    print(f"memory {mib(base_memory)}, at most {mib(peak)}: {each / 1024:.1f} KiB each; {most} at once")
    print(f"the gateway's last was closed {closed_after:.1f} s after the last was opened")
    if not is_closed:
        faults.append(f"{title}: after {patience} s the gateway still has {now} connections")
    # Strangers with a prompt are answered and gone while others still come.
    if most < 0.95 * sum(len(results[phase.name]) for phase in phases if not phase.answer):
        faults.append(f"{title}: no more than {most} were open at once")
    if each > BYTES_EACH:
        faults.append(f"{title}: {each / 1024:.1f} KiB a connection, expected {BYTES_EACH >> 10}")
    median, worst = statistics.median(prober.times or [99]), max(prober.times or [99])
    print(f"/healthz {len(prober.times)} times: median {median * 1000:.1f} ms, worst {worst * 1000:.1f} ms")
    if median > MEDIAN or worst > WORST:
        faults.append(f"{title}: /healthz took {median:.3f} s at the median and {worst:.3f} s at worst")
    faults += [f"{title}: {fault}" for fault in dict.fromkeys(prober.faults)]
    return peak


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < COUNT + 500:
        sys.exit(f"{hard} open files are too few for {COUNT} connections: raise ulimit -Hn, for the gateway too")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for _ in range(200):
        healthz()
    faults = []
    begin = memory()
    first = one_round("first round", PHASES, PATIENCE, faults)
    # What one round leaves is there for the next: memory that is lost would add up. The second may find it with another
    # thread's allocator; the third finds what is left by both.
    short = [phase for phase in PHASES if phase.limit < BODY]
    second = one_round("second round", short, 40, faults)
    third = one_round("third round", short, 40, faults)
    time.sleep(2)
    end = memory()
    print(f"memory {mib(begin)} before, {mib(first)}, {mib(second)} and {mib(third)} at the peaks, {mib(end)} after")
    if third > second + (first - begin) * 0.25 + (8 << 20):
        faults.append(f"memory: {mib(third)} in the third round, {mib(second)} in the second")
    # Libraries and allocators keep what the first connections of all made them take.
    if end > begin + COUNT * BYTES_EACH + (16 << 20):
        faults.append(f"memory: {mib(end)} after it all, {mib(begin)} before")
    healthz()
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()

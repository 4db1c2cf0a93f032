# SPDX-License-Identifier: Apache-2.0
"""The plan in numbers: how many replicas, cores, connections and database writes some number of developers takes.

What a request costs a gateway comes from a run of bench.py (--costs FILE). What it costs the database is found in two
steps. A simulation of one replica, event by event, follows the rules by which the gateway shares readings of limits and
gathers bookings, and says which statements run how often and with how many rows. The cost of each statement is what
--measure finds: it takes the statements from a real gateway on its way to a real PostgreSQL, runs them with many rows
and few, and looks at the server's processor time and write-ahead log. --validate holds the simulation against a real
gateway.

Not in the plan: TLS (count it at the load balancer, or measure it), developers' telemetry, and whoever reads reports.

The rules stand in Sources/GatewayMetering: Ledger/SpendLedger.swift, Caps/SpendGuard.swift, Caps/SpendReading.swift,
Caps/SpendHolds.swift, Rates/InferenceLimiter.swift; the statements in Sources/GatewayStore/Spend.
"""
import argparse
import collections
import ctypes
import ctypes.util
import heapq
import http.client
import json
import math
import multiprocessing
import random
import sys
import threading
import time
import urllib.parse
import uuid

import bodies
import stand
from stand import Failure, Gateway, IdentityProvider, Nginx, Pipe, Postgres, Stand, anthropic

# MARK: The gateway's rules

# SpendLedger
WINDOW, PACE, BATCH, SIGHTING = 0.003, 0.040, 1000, 30
# SpendGuard
FRESHNESS, RENEWAL_AGE, SHARED, MAXIMUM_RENEWAL = 0.060, 0.050, 0.001, 200
# SpendHolds
HOLD_BATCH = 100
# Asked for by every replica, whatever the load.
REVOCATIONS, RATES, SWEEPS, ALERTS = 2, 1, 60, 2

# Where nothing was measured: milliseconds of a core of PostgreSQL 15 and bytes of its log, from one run of --measure on
# a shared machine with two cores. `latency` is what one client waits, in milliseconds.
DEFAULT_DATABASE = {
    "guard": {"cpu_ms": [0.1, 0.007], "latency_ms": [0.13, 0.008], "wal_bytes": [0, 0]},
    "booking": {"cpu_ms": [0.14, 0.15], "latency_ms": [0.25, 0.17], "wal_bytes": [50, 2440]},
    "sighting": {"cpu_ms": [0, 0.04], "latency_ms": [0, 0.05], "wal_bytes": [0, 500]},
    "renewal": {"cpu_ms": [0, 0.015], "latency_ms": [0, 0.02], "wal_bytes": [0, 0]},
    "hold": {"cpu_ms": [0.4, 0.12], "latency_ms": [2.0, 0.2], "wal_bytes": [80, 460]},
    "settled": {"cpu_ms": [0, 0.03], "latency_ms": [0, 0.05], "wal_bytes": [0, 100]},
    "refresh": {"cpu_ms": [0.3, 0], "latency_ms": [4.0, 0], "wal_bytes": [1400, 0]},
    "poll": {"cpu_ms": [0.02, 0], "latency_ms": [0.05, 0], "wal_bytes": [0, 0]},
    "rates": {"cpu_ms": [1.2, 0.003], "latency_ms": [1.3, 0.005], "wal_bytes": [40, 1]},
}
# Requests a second, in the validation.
RATES_TRIED = (20, 100, 250)
# Where no run of bench.py is given.
DEFAULT_COSTS = {
    "small-caps_cpu_us": 65, "large-caps_cpu_us": 280, "paced_cpu_us": 500, "event_cpu_us": 17, "stream_kib": 12,
    "bearer_kib": 0.7, "idle_mb": 49,
}


class Replica:
    """One replica, at a given rate of requests of many developers, each request of a developer drawn at random."""

    def __init__(self, rate, people, database, options, seed=1):
        self.rate, self.people, self.database, self.options = rate, max(1, people), database, options
        self.random = random.Random(seed)
        self.now, self.events, self.order = 0.0, [], 0
        self.counts = collections.Counter()
        # SpendGuard
        self.readings, self.waiting, self.is_asking = {}, [], False
        # SpendLedger
        self.entries, self.sightings, self.seen, self.is_writing, self.next_write = {}, [], {}, False, 0.0
        # SpendHolds
        self.holding, self.is_holding = [], False

    def at(self, time_, action, *arguments):
        self.order += 1
        heapq.heappush(self.events, (time_, self.order, action, arguments))

    def run(self, warm_up, seconds):
        """What happens in a second, on average."""
        self.at(0, self.arrive)
        while self.events and self.events[0][0] < warm_up + seconds:
            self.now, _, action, arguments = heapq.heappop(self.events)
            action(*arguments)
        return {key: value / seconds for key, value in self.counts.items()}

    def note(self, **changes):
        if self.now >= self.options.warm_up:
            for key, value in changes.items():
                self.counts[key] += value

    def latency(self, kind, rows):
        base, each = self.database[kind]["latency_ms"]
        return (base + each * rows) / 1000

    def round_trips(self, count):
        return count * self.options.rtt_ms / 1000

    # MARK: SpendGuard

    def arrive(self):
        self.at(self.now + self.random.expovariate(self.rate), self.arrive)
        person = self.random.randrange(self.people)
        self.note(requests=1)
        reading = self.readings.get(person)
        is_recent = False
        if reading and self.serves(reading):
            age = self.now - reading["at"]
            if age <= RENEWAL_AGE or reading["renewing"]:
                is_recent = True
            else:
                reading["renewing"] = True
                self.waiting.append((person, False))
                self.ask()
            self.begin(person)
        else:
            self.waiting.append((person, True))
            self.ask()
        if not is_recent:
            self.sight(person)

    def serves(self, reading):
        age = self.now - reading["at"]
        if age >= FRESHNESS:
            return False
        reading["uses"] += 1
        return age < SHARED or SHARED * reading["uses"] >= age * 2

    def ask(self):
        if not self.is_asking:
            self.is_asking = True
            self.query()

    def query(self):
        batch, self.waiting = self.waiting, []
        if not batch:
            self.is_asking = False
            return
        people = {person for person, _ in batch}
        self.note(guard=1, guard_rows=len(people), statements=1, reads=1)
        self.at(self.now + self.latency("guard", len(people)) + self.round_trips(1), self.answered, batch)

    def answered(self, batch):
        for person, waits in batch:
            reading = self.readings.get(person)
            if not reading or reading["at"] != self.now:
                self.readings[person] = {"at": self.now, "uses": 0, "renewing": False}
            if waits:
                self.begin(person)
        if len(self.readings) > 10_000:
            self.readings = {
                person: reading for person, reading in self.readings.items() if reading["at"] + FRESHNESS > self.now
            }
        self.query()

    # MARK: SpendHolds

    def begin(self, person):
        if not self.options.strict:
            self.answer(person)
            return
        self.holding.append(person)
        if not self.is_holding:
            self.is_holding = True
            self.hold()

    def hold(self):
        batch, self.holding = self.holding[:HOLD_BATCH], self.holding[HOLD_BATCH:]
        if not batch:
            self.is_holding = False
            return
        people = set(batch)
        # Locks of the developers and of their groups, the state, the reservations.
        statements = 4 + len(people) + self.options.groups
        self.note(holds=1, hold_rows=len(batch), statements=statements, transactions=1, rows=len(batch))
        self.at(
            self.now + self.latency("hold", len(batch)) + self.round_trips(statements), self.held, batch)

    def held(self, batch):
        for person in batch:
            self.answer(person)
        self.hold()

    def answer(self, person):
        mean, spread = self.options.stream_seconds, 0.8
        lasts = self.random.lognormvariate(math.log(mean) - spread * spread / 2, spread) if mean > 0 else 0.001
        self.at(self.now + lasts, self.record, person)

    # MARK: SpendLedger

    def sight(self, person):
        if self.now - self.seen.get(person, -SIGHTING) < SIGHTING:
            return
        if len(self.seen) > 50_000:
            self.seen.clear()
        self.seen[person] = self.now
        self.sightings.append(person)
        self.write()

    def record(self, person):
        model = 0 if self.random.random() < 0.8 else 1
        # One that settles a reservation stays by itself.
        kind = (person, model, self.order) if self.options.strict else (person, model)
        self.entries[kind] = self.entries.get(kind, 0) + 1
        self.write()

    def write(self):
        if not self.is_writing:
            self.is_writing = True
            self.next_write = self.now
            self.plan()

    def plan(self):
        self.at(max(self.next_write, self.now + WINDOW), self.book)

    def book(self):
        self.next_write = self.now + PACE
        kinds = list(self.entries)[:BATCH]
        for kind in kinds:
            del self.entries[kind]
        sightings, self.sightings = self.sightings[:BATCH], self.sightings[BATCH:]
        if not kinds and not sightings:
            self.is_writing = False
            return
        people = {kind[0] for kind in kinds}
        days = {kind[:2] for kind in kinds}
        renewed = [
            person for person in people
            if person in self.readings and self.readings[person]["at"] > self.now - FRESHNESS
        ]
        if len(renewed) > MAXIMUM_RENEWAL:
            renewed = []
        # The ledger, the counters, the days; who was seen, and his groups; the limits anew. All in one exchange.
        statements = (3 if kinds else 0) + (2 if sightings else 0) + (1 if renewed else 0)
        rows = len(kinds) + 3 * len(people) + len(days) + 2 * len(sightings)
        changes = {"bookings": 1, "entries": len(kinds), "sightings": len(sightings), "counters": 3 * len(people)}
        lasts = self.latency("booking", len(kinds)) + self.latency("sighting", len(sightings))
        if renewed:
            changes.update(renewals=1, renewal_rows=len(renewed))
            lasts += self.latency("renewal", len(renewed))
        if self.options.strict and kinds:
            statements += 1
            rows += len(kinds)
            changes.update(settled=len(kinds))
            lasts += self.latency("settled", len(kinds))
        self.note(statements=statements, transactions=1, rows=rows, **changes)
        self.at(self.now + lasts + self.round_trips(1), self.booked, renewed)

    def booked(self, renewed):
        for person in renewed:
            self.readings[person] = {"at": self.now, "uses": 0, "renewing": False}
        self.plan()


def simulate(rate, people, database, options):
    """Statements a second of one replica, those that do not depend on requests included."""
    # Long enough for some thousands of requests.
    seconds = max(options.simulated, min(3600, 5000 / rate))
    found = collections.Counter(Replica(rate, people, database, options).run(options.warm_up, seconds))
    found.update(statements=1 / REVOCATIONS, reads=1 / REVOCATIONS, polls=1 / REVOCATIONS)
    # Expired grants, old sessions, old rates, reservations that nobody ended.
    found.update(statements=8 / SWEEPS, transactions=4 / SWEEPS)
    if options.rate_limits:
        # Told of: whoever began a request since the last time, or has one running.
        told = min(people, rate * (RATES + options.stream_seconds))
        found.update(
            statements=4 / RATES, transactions=1 / RATES, rows=told / RATES, rates=1 / RATES, rate_rows=told / RATES)
    if options.alerts:
        changed = min(people, found["entries"] * ALERTS)
        looks = math.ceil(changed / 500)
        found.update(statements=(2 * looks + 3) / ALERTS, reads=2 * looks / ALERTS, transactions=1 / ALERTS)
        found.update(guard=looks / ALERTS, guard_rows=changed / ALERTS)
    return found


def database_use(load, refreshes, database):
    """Cores that PostgreSQL needs for such a load, and bytes a second of its log."""
    uses = [
        ("guard", load["guard"], load["guard_rows"]), ("booking", load["bookings"], load["entries"]),
        ("sighting", 0, load["sightings"]), ("renewal", load["renewals"], load["renewal_rows"]),
        ("hold", load["holds"], load["hold_rows"]), ("settled", 0, load["settled"]), ("poll", load["polls"], 0),
        ("rates", load["rates"], load["rate_rows"]), ("refresh", refreshes, 0),
    ]

    def total(key):
        return sum(
            database[kind][key][0] * times + database[kind][key][1] * rows for kind, times, rows in uses)

    return total("cpu_ms") / 1000, total("wal_bytes")


def plan(developers, options, costs, database):
    """What so many developers take at the busiest time."""
    active = developers * options.active
    rate = active * options.requests / 3600
    open_streams = rate * options.stream_seconds
    events = open_streams * options.events
    share = min(1, options.body / 130_000)
    # At the rates of a plan few requests share a reading or a booking: what paced ones cost counts, where it is known.
    request_us = costs["paced_cpu_us"]
    request_us += share * (costs["large-caps_cpu_us"] - costs["small-caps_cpu_us"])
    cores = (rate * request_us + events * costs["event_cpu_us"]) / 1e6
    by_cpu = cores / (options.cores * options.utilisation)
    # A stream takes two descriptors.
    by_descriptors = open_streams / ((options.descriptors - 500) / 2)
    needed = max(1, math.ceil(max(by_cpu, by_descriptors)))
    replicas = needed + 1
    # The load that one replica has when one is missing.
    streams_each, rate_each = open_streams / needed, rate / needed
    # Each loop keeps its own; a developer's requests come from many connections.
    bearers = min(active, 8192) * options.cores
    memory_mb = costs["idle_mb"] + (
        streams_each * costs["stream_kib"] + bearers * costs["bearer_kib"]
        + rate_each * options.first_byte_seconds * options.body / 1024) / 1024
    one = simulate(rate / replicas, round(active), database, options)
    load = collections.Counter({key: value * replicas for key, value in one.items()})
    refreshes = active / (options.bearer_hours * 3600)
    load.update(statements=2 * refreshes, transactions=2 * refreshes, rows=2 * refreshes)
    database_cores, wal = database_use(load, refreshes, database)
    return {
        "developers": developers, "active": round(active), "requests_per_second": rate, "open_streams": open_streams,
        "events_per_second": events, "gateway_cores_used": cores, "replicas": replicas,
        "cores_per_replica": options.cores, "memory_mb_per_replica": memory_mb,
        "client_connections": open_streams * (1 + options.idle_connections),
        "upstream_connections": open_streams, "database_connections": replicas * options.pool,
        "database_statements_per_second": load["statements"], "database_transactions_per_second": load["transactions"],
        "database_reads_per_second": load["reads"], "database_rows_written_per_second": load["rows"],
        "bookings_per_second": load["bookings"],
        "entries_per_booking": load["entries"] / load["bookings"] if load["bookings"] else 0,
        "database_cores_used": database_cores, "database_share": database_cores / options.database_cores,
        "database_log_mb_per_second": wal / 1e6,
        "ledger_rows_per_working_day": load["entries"] * 3600 * options.hours,
    }


# MARK: PostgreSQL


class Database:
    """A connection by libpq, with prepared statements."""

    library = None

    @classmethod
    def load(cls):
        name = ctypes.util.find_library("pq") or "libpq.so.5"
        library = ctypes.CDLL(name)
        for function in ("PQconnectdb", "PQexec", "PQprepare", "PQexecPrepared", "PQgetResult"):
            getattr(library, function).restype = ctypes.c_void_p
        for function in ("PQerrorMessage", "PQresultErrorMessage", "PQgetvalue"):
            getattr(library, function).restype = ctypes.c_char_p
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        library.PQconnectdb.argtypes = [text]
        library.PQstatus.argtypes = library.PQfinish.argtypes = library.PQerrorMessage.argtypes = [pointer]
        library.PQexec.argtypes = [pointer, text]
        library.PQprepare.argtypes = [pointer, text, text, number, pointer]
        library.PQexecPrepared.argtypes = library.PQsendQueryPrepared.argtypes = [
            pointer, text, number, ctypes.POINTER(text), pointer, pointer, number,
        ]
        for function in ("PQgetResult", "PQenterPipelineMode", "PQpipelineSync", "PQexitPipelineMode"):
            getattr(library, function).argtypes = [pointer]
        library.PQresultStatus.argtypes = library.PQresultErrorMessage.argtypes = library.PQclear.argtypes = [pointer]
        library.PQntuples.argtypes = [pointer]
        library.PQgetvalue.argtypes = [pointer, number, number]
        cls.library = library

    def __init__(self, url):
        if not Database.library:
            Database.load()
        self.handle = self.library.PQconnectdb(url.encode())
        if self.library.PQstatus(self.handle) != 0:
            raise Failure(self.library.PQerrorMessage(self.handle).decode().strip())
        self.prepared = {}

    def close(self):
        self.library.PQfinish(self.handle)

    def take(self, result):
        status = self.library.PQresultStatus(result)
        try:
            # A command that is done, or rows.
            if status not in (1, 2):
                raise Failure(self.library.PQresultErrorMessage(result).decode().strip())
            return self.library.PQgetvalue(result, 0, 0) if status == 2 and self.library.PQntuples(result) else None
        finally:
            self.library.PQclear(result)

    def run(self, sql, values=None):
        """The first column of the first row."""
        if values is None:
            return self.take(self.library.PQexec(self.handle, sql.encode()))
        return self.take(self.library.PQexecPrepared(*self.execution(sql, values)))

    def execution(self, sql, values):
        """The arguments that run a statement, which is prepared if it is new."""
        name = self.prepared.get(sql)
        if name is None:
            name = f"s{len(self.prepared)}".encode()
            self.take(self.library.PQprepare(self.handle, name, sql.encode(), 0, None))
            self.prepared[sql] = name
        texts = (ctypes.c_char_p * len(values))(*(None if value is None else value.encode() for value in values))
        return self.handle, name, len(values), texts, None, None, 0

    def together(self, statements):
        """Statements in one transaction and one exchange."""
        executions = [self.execution(sql, values) for sql, values in statements]
        sent = self.library.PQenterPipelineMode(self.handle)
        for execution in executions:
            sent = sent and self.library.PQsendQueryPrepared(*execution)
        if not (sent and self.library.PQpipelineSync(self.handle)):
            raise Failure(self.library.PQerrorMessage(self.handle).decode().strip())
        for _ in executions:
            self.take(self.library.PQgetResult(self.handle))
            while result := self.library.PQgetResult(self.handle):
                self.take(result)
        # The end of it.
        self.library.PQclear(self.library.PQgetResult(self.handle))
        if not self.library.PQexitPipelineMode(self.handle):
            raise Failure(self.library.PQerrorMessage(self.handle).decode().strip())


def texts(values):
    return json.dumps(list(values))


class Work:
    """The gateway's transactions, with its own statements."""

    def __init__(self, statements, people, groups, seed):
        self.people, self.groups, self.random = people, groups, random.Random(seed)
        self.sql = statements
        now = time.gmtime()
        self.periods = [time.strftime(form, now) for form in ("%Y-%m-%d", "%G-W%V", "%Y-%m")]

    def some(self, count):
        # In one order, as the gateway does it, so that nobody waits in a circle.
        return [f"developer-{number}" for number in sorted(self.random.sample(range(self.people), count))]

    def state(self, people, key="state"):
        groups = [f"team-{self.random.randrange(100)}" for _ in range(self.groups)]
        milliseconds = str(int(time.time() * 1000))
        return self.sql[key], [texts(people), texts(groups), texts(self.periods), self.periods[2], milliseconds]

    def guard(self, database, count):
        database.run(*self.state(self.some(count)))

    def booking(self, database, count, sightings=0, renewed=0, settled=()):
        people, now = self.some(max(count, sightings)), str(int(time.time() * 1000))
        entries = [{
            "id": str(uuid.uuid4()), "at": now, "day": self.periods[0],
            "principal": person, "request_ids": str(uuid.uuid4()), "requests": "1",
            "model": stand.MODEL, "upstream": "anthropic", "upstream_model": stand.MODEL, "input": "1200",
            "output": "400", "cache_write_5m": "900", "cache_write_1h": "0", "cache_read": "110000",
            "web_searches": "0", "estimates": "0", "nanodollars": "42000000",
        } for person in people[:count]]
        sums = [
            {"name": person, "period": period, "nanodollars": "42000000"}
            for person in people[:count] for period in sorted(self.periods)
        ]
        names = (
            "requests", "input", "output", "cache_write_5m", "cache_write_1h", "cache_read", "web_searches",
            "nanodollars")
        days = [{
            **{key: entry[key] for key in ("day", "principal", "model", "upstream", *names)}, "billing_group": "",
        } for entry in entries]
        statements = []
        if entries:
            statements.append((self.sql["ledger"], [json.dumps(entries)]))
            if settled:
                statements.append((self.sql["settle"], [texts(settled)]))
            statements.append((self.sql["counters"], [json.dumps(sums), now]))
            statements.append((self.sql["days"], [json.dumps(days)]))
        if sightings:
            groups = texts([f"team-{index}" for index in range(self.groups)])
            seen = [{
                "principal": person, "groups": groups, "at": now, "email": person + "@example.com", "name": person,
            } for person in people[:sightings]]
            statements.append((self.sql["seen"], [json.dumps(seen)]))
            statements.append((self.sql["groups"], [json.dumps([
                {"day": self.periods[0], "principal": person, "groups": groups} for person in people[:sightings]])]))
        if renewed:
            statements.append(self.state(people[:renewed]))
        database.together(statements)

    def sighting(self, database, count):
        self.booking(database, 10, sightings=count)

    def renewal(self, database, count):
        self.booking(database, 10, renewed=count)

    def settled(self, database, count):
        self.booking(database, 10, settled=self.hold(database, count))

    def hold(self, database, count):
        people, now = self.some(count), int(time.time() * 1000)
        database.run("BEGIN")
        for person in people:
            database.run(self.sql["lock"], ["spend-hold p " + person])
        database.run(*self.state(people, "held"))
        rows = [{
            "id": str(uuid.uuid4()), "request_id": str(uuid.uuid4()), "principal": person, "nanodollars": "1",
            "at": str(now), "expires_at": str(now + 1),
        } for person in people]
        database.run(self.sql["reserve"], [json.dumps(rows)])
        database.run("COMMIT")
        return [row["id"] for row in rows]

    def refresh(self, database, _):
        number = self.random.randrange(self.people)
        now = int(time.time() * 1000)
        database.run(self.sql["lease"], [f"session-{number}", "9223372036854775806", str(now + 1), str(now)])
        database.run(
            self.sql["refreshed"], [
                f"session-{number}", str(self.random.getrandbits(62)), f"developer-{number}@example.com", "x" * 800,
                str(now),
            ])

    def rates(self, database, count):
        people, now = self.some(count), int(time.time() * 1000)
        told = [{
            "principal": person, "minute": str(now // 60_000), "requests": "2", "tokens": "9000", "running": "1",
        } for person in people]
        replica = f"replica-{id(self)}"
        database.run("BEGIN")
        database.run(self.sql["tell"], [json.dumps(told), replica, str(now)])
        database.run(self.sql["hear"], [texts(people), replica, str(now - 5000), str(now // 60_000 - 1)])
        database.run("COMMIT")

    def poll(self, database, _):
        database.run(self.sql["poll"], [str(int(time.time() * 1000) - 120_000)])


def capture(stand_, binary, provider, url, port, json_port):
    """Statements as a gateway sends them, taken on their way."""
    pipe = Pipe(stand_, port, True)
    parts = urllib.parse.urlsplit(url)
    user = parts.netloc.rsplit("@", 1)[0] + "@" if "@" in parts.netloc else ""
    through = parts._replace(netloc=f"{user}127.0.0.1:{pipe.port}").geturl()
    provider.prepare()
    for index, sections in enumerate(({}, {"enforcement": {"overshoot": "strict"}})):
        gateway = Gateway(
            stand_, binary, provider, f"capture-{index}", through, [anthropic(json_port)], admin=stand.admin(),
            rate_limits={"inference": {"requests_per_minute": 1000}}, **sections).start()
        gateway.limit(100_000_000)
        for _ in range(4):
            answer = stand.send(
                gateway.url + "/v1/messages", "POST", bodies.small(), stand.post_headers(gateway.bearer()))
            if answer.status != 200:
                raise Failure(f"{answer.status} {answer.body[:300]}")
        signed_in = stand.sign_in(gateway.url).json
        form = urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": signed_in["refresh_token"]})
        stand.send(
            gateway.url + "/oauth/token", "POST", form, {"content-type": "application/x-www-form-urlencoded"})
        time.sleep(2.5)
        gateway.stop()
    wanted = {
        "state": lambda sql: sql.startswith("SELECT 'limit'") and "'held'" not in sql,
        "held": lambda sql: sql.startswith("SELECT 'limit'") and "'held'" in sql,
        "ledger": lambda sql: sql.startswith("INSERT INTO spend_ledger"),
        "counters": lambda sql: sql.startswith("INSERT INTO spend "),
        "days": lambda sql: sql.startswith("INSERT INTO spend_daily"),
        "seen": lambda sql: sql.startswith("INSERT INTO principal_emails"),
        "groups": lambda sql: sql.startswith("INSERT INTO principal_groups"),
        "settle": lambda sql: sql.startswith("DELETE FROM spend_holds WHERE id"),
        "lock": lambda sql: sql.startswith("SELECT pg_advisory_xact_lock"),
        "reserve": lambda sql: sql.startswith("INSERT INTO spend_holds"),
        "lease": lambda sql: sql.startswith("UPDATE sessions SET lease_until = $3"),
        "refreshed": lambda sql: sql.startswith("UPDATE sessions SET generation"),
        "tell": lambda sql: sql.startswith("INSERT INTO rate_usage"),
        "hear": lambda sql: sql.startswith("SELECT principal, minute, sum(requests)"),
        "poll": lambda sql: sql.startswith("SELECT kind, id, at FROM revocations"),
    }
    found = {}
    for key, test in wanted.items():
        matches = [sql for sql in pipe.statements if test(sql)]
        if not matches:
            raise Failure(f"the gateway has sent no statement of the kind {key}: the rules here need a look")
        found[key] = matches[0]
    return found


def fill(url, people):
    """A database as it is after some days."""
    now = time.gmtime()
    periods = [time.strftime(form, now) for form in ("%Y-%m-%d", "%G-W%V", "%Y-%m")]
    sql = "".join(
        f"INSERT INTO spend (principal, period, nanodollars) SELECT 'developer-' || n, '{period}', n * 1000 "
        f"FROM generate_series(0, {people - 1}) AS n;" for period in periods)
    series = f"FROM generate_series(0, {people - 1}) AS n"
    sql += f"""
        INSERT INTO principal_emails (principal, email, name, groups)
            SELECT 'developer-' || n, 'developer-' || n || '@example.com', 'developer-' || n, '["team-0"]' {series};
        INSERT INTO principal_groups (day, principal, groups)
            SELECT '{periods[0]}', 'developer-' || n, '["team-0"]' {series};
        INSERT INTO spend_daily SELECT '{periods[0]}', 'developer-' || n, '{stand.MODEL}', 'anthropic', '',
            1, 1, 1, 1, 1, 1, 1, 1 {series};
        INSERT INTO spend_ledger SELECT gen_random_uuid(), extract(epoch FROM now())::bigint * 1000, '{periods[0]}',
            'developer-' || n, gen_random_uuid()::text, 1, '{stand.MODEL}', 'anthropic', '{stand.MODEL}', NULL, NULL,
            1, 1, 1, 1, 1, 1, 0, 1 {series};
        INSERT INTO sessions (id, subject, email, created_at, refreshed_at, generation)
            SELECT 'session-' || n, 'developer-' || n, NULL, 0, extract(epoch FROM now())::bigint * 1000, 1 {series};
        INSERT INTO spend_limits (id, scope_type, scope_id, amount, period)
            SELECT 'fill-' || n, 'rbac_group', 'team-' || n, 1000000, 'monthly' FROM generate_series(0, 99) AS n;
    """
    stand.query(url, sql)
    stand.query(url, "VACUUM ANALYZE")


def run_worker(url, statements, people, groups, kind, rows, seconds, seed, pipe):
    database, work = Database(url), Work(statements, people, groups, seed)
    action = getattr(work, kind)
    for _ in range(3):
        action(database, rows)
    pipe.send("ready")
    pipe.recv()
    times, end = [], time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        action(database, rows)
        times.append(time.monotonic() - begin)
    pipe.send(times)
    database.close()


def measure_one(url, server, statements, options, kind, rows, workers):
    """One transaction again and again, on some connections at once."""
    context = multiprocessing.get_context("fork")
    pipes, processes = [], []
    for seed in range(workers):
        ours, theirs = context.Pipe()
        process = context.Process(
            target=run_worker, args=(
                url, statements, options.fill, options.groups, kind, rows, options.seconds, seed, theirs), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        if not pipe.poll(60):
            raise Failure(f"{kind}: a worker does not get ready")
        pipe.recv()
    control = Database(url)
    # Earlier reservations would be looked through by every reading.
    control.run("TRUNCATE spend_holds")
    before = int(control.run("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"))
    cpu = server.cpu() if server else 0
    for pipe in pipes:
        pipe.send("go")
    times = sorted(second for pipe in pipes for second in pipe.recv())
    cpu = server.cpu() - cpu if server else sum(times)
    log = int(control.run("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")) - before
    control.close()
    for process in processes:
        process.join(10)
    return {
        "kind": kind, "rows": rows, "workers": workers, "per_second": len(times) / options.seconds,
        "cpu_ms": cpu / len(times) * 1000, "latency_ms": times[len(times) // 2] * 1000,
        "latency_p99_ms": times[len(times) * 99 // 100] * 1000, "wal_bytes": log / len(times),
    }


def line(points):
    """The straight line through points, by least squares; its beginning is not below zero."""
    if len(points) == 1:
        return [points[0][1], 0]
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return [max(0, mean_y - slope * mean_x), max(0, slope)]


KINDS = {
    "guard": (1, 8, 32), "booking": (1, 10, 50), "sighting": (10,), "renewal": (10,),
    "hold": (1, 10), "settled": (10,), "refresh": (0,), "poll": (0,),
    "rates": (10, 100),
}


def measure(stand_, options):
    """What the statements cost on a server: a throwaway one, or one that is named."""
    provider, json_port = IdentityProvider(stand_), stand.free_port()
    Nginx(stand_, "upstream", f"""
    server {{
        listen 127.0.0.1:{json_port};
        location / {{ default_type application/json; return 200 '{bodies.ANSWER}'; }}
    }}""")
    server = None
    if options.measure == "throwaway":
        server = Postgres(stand_)
        url = server.make("capacity")
        port = server.port
    else:
        url = options.measure
        parts = urllib.parse.urlsplit(url)
        if parts.hostname not in ("127.0.0.1", "localhost"):
            raise Failure("the statements are taken on their way through loopback: tunnel to the server's port")
        port = parts.port or 5432
        if stand.query(url, "SELECT count(*) FROM pg_tables WHERE tablename = 'spend_ledger'") != [["0"]]:
            raise Failure("that database has a gateway's tables already; name an empty one")
    binary = stand_.copy(options.binary)
    statements = capture(stand_, binary, provider, url, port, json_port)
    fill(url, options.fill)
    runs = []
    print("{:<10} {:>5} {:>8} {:>10} {:>9} {:>11} {:>9} {:>10}".format(
        "statement", "rows", "at once", "a second", "CPU, ms", "median, ms", "p99, ms", "log, bytes"))
    for kind, sizes in KINDS.items():
        for rows in sizes:
            for workers in (1, options.workers):
                found = measure_one(url, server, statements, options, kind, rows, workers)
                runs.append(found)
                print("{kind:<10} {rows:>5} {workers:>8} {per_second:>10.0f} {cpu_ms:>9.3f} {latency_ms:>11.3f} "
                      "{latency_p99_ms:>9.3f} {wal_bytes:>10.0f}".format(**found), flush=True)

    def points(kind, key, workers):
        return [(run["rows"], run[key]) for run in runs if run["kind"] == kind and run["workers"] == workers]

    database = {}
    for kind in KINDS:
        database[kind] = {
            key: line(points(kind, key, 1 if key == "latency_ms" or not server else options.workers))
            for key in ("cpu_ms", "latency_ms", "wal_bytes")
        }
    # These were measured within a booking of ten; those that settle also with the reservation before it.
    for kind in ("sighting", "renewal", "settled"):
        for key in ("cpu_ms", "latency_ms", "wal_bytes"):
            parts = ("booking", "hold") if kind == "settled" else ("booking",)
            base = sum(database[part][key][0] + 10 * database[part][key][1] for part in parts)
            database[kind][key] = [0, max(0, database[kind][key][0] - base) / 10]
    return {"database": database, "runs": runs, "is_cpu_measured": server is not None}


def validate(stand_, options, database):
    """The same load on a real gateway and in the simulation."""
    server = Postgres(stand_, {"shared_preload_libraries": "pg_stat_statements"})
    url, json_port, provider = server.make("validate"), stand.free_port(), IdentityProvider(stand_)
    stand.query(url, "CREATE EXTENSION pg_stat_statements")
    Nginx(stand_, "upstream", f"""
    server {{
        listen 127.0.0.1:{json_port};
        location / {{ default_type application/json; return 200 '{bodies.ANSWER}'; }}
    }}""")
    gateway = Gateway(
        stand_, stand_.copy(options.binary), provider, "validate", url, [anthropic(json_port)],
        admin=stand.admin()).start()
    gateway.limit(100_000_000)
    people, seconds, rows, paced = options.validate_people, 12, [], {}
    bearers = [gateway.bearer(f"developer-{index}") for index in range(people)]
    randomness = random.Random(7)
    for rate in RATES_TRIED:
        times, at = [], 0.0
        while at < seconds:
            at += randomness.expovariate(rate)
            times.append(at)
        lock, start, bad = threading.Lock(), time.monotonic(), []
        body = bodies.small()

        def work():
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
            while True:
                with lock:
                    if not times:
                        return
                    due = times.pop(0)
                    bearer = randomness.choice(bearers)
                time.sleep(max(0, start + due - time.monotonic()))
                connection.request("POST", "/v1/messages", body, stand.post_headers(bearer))
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    bad.append(answer.status)

        sent = len(times)
        # Everybody was seen lately, or nobody.
        time.sleep(SIGHTING + 1)
        start = time.monotonic()
        stand.query(url, "SELECT pg_stat_statements_reset()")
        cpu = stand.cpu_seconds(gateway.pid)
        threads = [threading.Thread(target=work) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lasted = time.monotonic() - start
        time.sleep(0.5)
        cpu = (stand.cpu_seconds(gateway.pid) - cpu) / sent * 1e6
        if bad:
            raise Failure(f"answers {collections.Counter(bad)}")
        patterns = {
            "guard": "SELECT %, id, scope_type, scope_id, period, CAST(amount%",
            "bookings": "INSERT INTO spend_ledger%", "sightings": "INSERT INTO principal_emails%",
        }
        real = {}
        for key, pattern in patterns.items():
            calls, touched = stand.query(
                url, "SELECT coalesce(sum(calls), 0), coalesce(sum(rows), 0) FROM pg_stat_statements "
                f"WHERE query LIKE '{pattern}'")[0]
            real[key] = int(touched if key == "sightings" else calls) / lasted
            if key == "bookings":
                real["entries"] = int(touched) / lasted
        seen = argparse.Namespace(**{**vars(options), "stream_seconds": 0, "warm_up": 0, "simulated": lasted})
        replica = Replica(sent / lasted, people, database, seen)
        model = replica.run(0, lasted)
        # A renewal is the same statement as a reading.
        model["guard"] = model.get("guard", 0) + model.get("renewals", 0)
        for key in ("guard", "bookings", "entries", "sightings"):
            rows.append((rate, key, real[key], model.get(key, 0)))
        paced[rate] = cpu
    print("\n{:>10} {:<24} {:>10} {:>10} {:>8}".format("requests/s", "a second", "gateway", "simulated", "ratio"))
    for rate, key, real, model in rows:
        print(f"{rate:>10} {key:<24} {real:>10.1f} {model:>10.1f} {model / real if real else float('nan'):>8.2f}")
    for rate, cpu in paced.items():
        print(f"{rate:>10} {'CPU of a request, µs':<24} {cpu:>10.0f}")
    return {
        "rows": [{"rate": rate, "what": key, "gateway": real, "simulated": model} for rate, key, real, model in rows],
        "cpu_us": paced,
    }


# MARK: The plan


TABLE = [
    ("developers", "developers", "{:,.0f}"),
    ("active at the busiest time", "active", "{:,.0f}"),
    ("requests a second", "requests_per_second", "{:,.1f}"),
    ("open streams", "open_streams", "{:,.0f}"),
    ("events a second", "events_per_second", "{:,.0f}"),
    ("cores in use by gateways", "gateway_cores_used", "{:,.2f}"),
    ("replicas, one of them spare", "replicas", "{:,.0f}"),
    ("cores of each", "cores_per_replica", "{:,.0f}"),
    ("memory of each, MB", "memory_mb_per_replica", "{:,.0f}"),
    ("connections from clients", "client_connections", "{:,.0f}"),
    ("connections to upstreams", "upstream_connections", "{:,.0f}"),
    ("connections to PostgreSQL", "database_connections", "{:,.0f}"),
    ("statements a second", "database_statements_per_second", "{:,.0f}"),
    ("readings a second", "database_reads_per_second", "{:,.0f}"),
    ("writing transactions a second", "database_transactions_per_second", "{:,.1f}"),
    ("rows written a second", "database_rows_written_per_second", "{:,.0f}"),
    ("entries in a booking", "entries_per_booking", "{:,.2f}"),
    ("PostgreSQL's log, MB a second", "database_log_mb_per_second", "{:,.2f}"),
    ("cores in use by PostgreSQL", "database_cores_used", "{:,.2f}"),
    ("of one machine's", "database_share", "{:.0%}"),
    ("ledger rows a working day", "ledger_rows_per_working_day", "{:,.0f}"),
]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("binary", nargs="?", default=".build-release/release/claude", help="for --measure and --validate")
    add("--costs", metavar="FILE", help="JSON of bench.py: what the gateway itself costs")
    add("--database", metavar="FILE", help="JSON of an earlier --measure")
    add("--measure", metavar="URL", help="throwaway, or an empty database on loopback")
    add("--validate", action="store_true", help="holds the simulation against a real gateway")
    add("--json", metavar="FILE")
    group = parser.add_argument_group("assumptions")
    add = group.add_argument
    add("--developers", default="1000,100000,1000000")
    add("--active", type=float, default=0.3, help="share that works at the busiest time (0.3)")
    add("--requests", type=float, default=60, help="model requests of a developer in a working hour (60)")
    add("--stream-seconds", type=float, default=15, help="how long an answer streams, on average (15)")
    add("--events", type=float, default=20, help="events a second of a stream (20)")
    add("--body", type=float, default=130_000, help="bytes of a request (130,000)")
    add("--first-byte-seconds", type=float, default=2, help="until an answer begins; the body is kept so long (2)")
    add("--bearer-hours", type=float, default=1, help="session.ttl_hours (1)")
    add("--hours", type=float, default=8, help="busy hours of a day (8)")
    add("--groups", type=int, default=1, help="groups of a developer that have limits (1)")
    add("--strict", action="store_true", help="enforcement.overshoot: strict")
    add("--rate-limits", action="store_true", help="rate_limits.inference is set")
    add("--alerts", action="store_true", help="admin.alerts.webhooks is set")
    add("--idle-connections", type=float, default=1, help="idle connections of clients for each open stream (1)")
    group = parser.add_argument_group("machines")
    add = group.add_argument
    add("--cores", type=int, default=4, help="of a replica (4)")
    add("--utilisation", type=float, default=0.5, help="share of a replica's cores to use at the busiest time (0.5)")
    add("--descriptors", type=int, default=65536, help="that a replica may have (65536)")
    add("--pool", type=int, default=5, help="store.max_connections (5)")
    add("--database-cores", type=int, default=8, help="of the PostgreSQL machine (8)")
    add("--rtt-ms", type=float, default=0.5, help="to PostgreSQL and back, for each statement (0.5)")
    group = parser.add_argument_group("measuring")
    add = group.add_argument
    add("--warm-up", type=float, default=60, help="simulated seconds before counting (60)")
    add("--simulated", type=float, default=30, help="simulated seconds (30)")
    add("--fill", type=int, default=100_000, help="developers in the database that is measured (100,000)")
    add("--workers", type=int, default=4, help="connections at once (4)")
    add("--seconds", type=float, default=3, help="of each measurement (3)")
    add("--validate-people", type=int, default=200, help="developers in the validation (200)")
    options = parser.parse_args()
    costs, database = dict(DEFAULT_COSTS), dict(DEFAULT_DATABASE)
    result = {"options": vars(options)}
    if options.costs:
        with open(options.costs) as file:
            found = json.load(file)["costs"]
        costs.update((key, found[key]) for key in costs if key in found)
        # The paced cost is found by --validate.
        for key in sorted(set(costs) - set(found) - {"paced_cpu_us"}):
            print(f"{options.costs} has no {key}: taken as {costs[key]:g}", file=sys.stderr)
    if options.database:
        with open(options.database) as file:
            earlier = json.load(file)
        database.update(earlier["measured"]["database"])
        if "validation" in earlier:
            costs["paced_cpu_us"] = earlier["validation"]["cpu_us"][str(RATES_TRIED[-1])]
    if options.measure or options.validate:
        facts = result["machine"] = stand.machine(options.binary)
        stand.warn_if_busy(facts)
        with Stand("capacity") as where:
            if options.measure:
                result["measured"] = measure(where, options)
                database.update(result["measured"]["database"])
                if not result["measured"]["is_cpu_measured"]:
                    print("the server's processor time is unknown: what clients waited stands for it", file=sys.stderr)
        if options.validate:
            with Stand("capacity") as where:
                # Clients and server are on one machine.
                near = argparse.Namespace(**{**vars(options), "rtt_ms": 0})
                result["validation"] = validate(where, near, database)
                costs["paced_cpu_us"] = result["validation"]["cpu_us"][RATES_TRIED[-1]]
    plans = [plan(int(count), options, costs, database) for count in options.developers.split(",")]
    print()
    for title, key, form in TABLE:
        print(f"{title:<34}" + "".join(f"{form.format(one[key]):>16}" for one in plans))
    result.update(costs=costs, database=database, plans=plans)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()

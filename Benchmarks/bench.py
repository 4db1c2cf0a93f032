# SPDX-License-Identifier: Apache-2.0
"""Measures a gateway against a floor, nginx that relays the same bytes and checks nothing, and against another gateway
if one is named: in one run, on one machine, in turns (floor, ours, other, floor, and so on). What counts are ratios of
the same round, their median and their spread. scripts/bench installs what this needs and runs it.
"""
import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time

import bodies
import instructions
import stand
from stand import Failure, Gateway, IdentityProvider, Nginx, Postgres, Stand, anthropic

CONNECTIONS = 32


class Table:
    """Prints figures as they are found, and keeps them."""

    columns = "{:<15} {:<39} {:>9} {:>9}  {:<30} {:<8} {}"

    def __init__(self):
        self.figures = []
        print(self.columns.format("row", "figure", "floor", "measured", "median [spread]", "target", "verdict"))

    def add(self, row, name, unit, rounds, target=None, who="ours", floor=None, measured=None, **more):
        """`rounds` are what the target is for: ratios to the floor, differences from it, or plain values."""
        median = statistics.median(rounds)
        figure = {
            "row": row, "figure": name, "unit": unit, "who": who, "median": median, "low": min(rounds),
            "high": max(rounds), "rounds": rounds, "floor": floor, "measured": measured, **more,
        }
        if target:
            operator, bound = target
            is_met = median >= bound if operator == ">=" else median <= bound
            # Another run might say the other thing.
            is_close = min(rounds) < bound < max(rounds)
            figure["target"] = {"operator": operator, "bound": bound}
            figure["verdict"] = ("met" if is_met else "missed") + (" (within the spread)" if is_close else "")
        self.figures.append(figure)
        spread = f"{number(median)} [{number(min(rounds))} to {number(max(rounds))}] {unit}"
        if len(rounds) == 1:
            spread = f"{number(median)} {unit}"
        print(
            self.columns.format(
                row if who == "ours" else "", name if who == "ours" else f"{who}: {name.strip()}"[:39],
                "" if floor is None else number(floor), "" if measured is None else number(measured), spread,
                f"{target[0]} {target[1]:g}" if target else "", figure.get("verdict", "")).rstrip(), flush=True)


def number(value):
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    for bound, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= bound:
            return f"{value:.{digits}f}"
    return f"{value:.3f}"


class Side:
    """Whom load is put on."""

    def __init__(self, name, port, bearers, pid, gateway=None):
        self.name, self.port, self.bearers, self.pid, self.gateway = name, port, bearers, pid, gateway
        self.runs = []

    def median(self, key):
        return statistics.median(run[key] for run in self.runs)


class Bench:
    def __init__(self, stand_, options):
        self.stand, self.options = stand_, options
        self.binary = stand_.copy(options.binary)
        self.table, self.costs, self.warnings, self.databases = Table(), {}, [], 0
        self.provider = IdentityProvider(stand_)
        self.postgres = Postgres(stand_)
        self.json_port, self.bedrock_port = stand.free_port(), stand.free_port()
        self.bedrock_body, self.bedrock_events = bodies.bedrock_stream(4_000_000)
        with open(stand_.path("events.bin"), "wb") as file:
            file.write(self.bedrock_body)
        self.upstream = Nginx(stand_, "upstream", f"""
    server {{
        listen 127.0.0.1:{self.json_port} backlog=4096;
        location / {{
            default_type application/json;
            add_header request-id req_011CS;
            return 200 '{bodies.ANSWER}';
        }}
    }}
    server {{
        listen 127.0.0.1:{self.bedrock_port} backlog=4096;
        location / {{ error_page 405 =200 /events.bin; return 405; }}
        location = /events.bin {{ root {stand_.folder}; default_type application/vnd.amazon.eventstream; }}
    }}""")
        self.floor_port = stand.free_port()
        self.floor = self.make_floor("floor", self.floor_port, self.json_port)
        self.tools = {}

    # MARK: Parts

    def make_floor(self, name, port, upstream):
        return Nginx(self.stand, name, f"""
    upstream behind {{ server 127.0.0.1:{upstream}; keepalive 1024; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}""")

    def tool(self, name):
        if name not in self.tools:
            self.tools[name] = self.stand.compile(name)
        return self.tools[name]

    def database(self):
        self.databases += 1
        return self.postgres.make(f"bench_{self.databases}")

    def gateway(self, name, command=None, upstreams=None, **sections):
        self.databases += 1
        gateway = Gateway(
            self.stand, command or self.binary, self.provider, f"{name}-{self.databases}", self.database(),
            upstreams or [anthropic(self.json_port)], **sections)
        return gateway.start()

    def sides(self, upstreams=None, floor=None, is_limited=False, **sections):
        """The floor, this gateway, and the other one if there is one."""
        port, worker = floor or (self.floor_port, self.floor.worker)
        found = [Side("floor", port, ["none"], worker)]
        for name, command in (("ours", None), ("other", self.options.vs)):
            if name == "other" and not command:
                continue
            gateway = self.gateway(name, command, upstreams, **sections)
            bearer = gateway.bearer()
            if name == "other" and self.try_bearer(gateway, bearer) == 401:
                # It does not take a bearer that it has not made.
                if not os.path.exists(self.provider.key):
                    self.provider.prepare()
                bearer = stand.sign_in(gateway.url).json["access_token"]
            if is_limited:
                gateway.limit(100_000_000)
            status = self.try_bearer(gateway, bearer)
            if status != 200:
                raise Failure(f"{name} answers {status}: {gateway.log()[-800:]}")
            found.append(Side(name, gateway.port, [bearer], gateway.pid, gateway))
        return found

    @staticmethod
    def try_bearer(gateway, bearer):
        return stand.send(gateway.url + "/v1/messages", "POST", bodies.small(), stand.post_headers(bearer)).status

    # MARK: Load

    def wrk(self, side, body, seconds=None, connections=CONNECTIONS):
        """A closed loop of requests, and what the relay spent on them."""
        # wrk takes whole seconds.
        seconds = max(1, round(seconds or self.options.seconds))
        script, body_path, list_path = (self.stand.path(name) for name in ("load.lua", "body", "bearers"))
        with open(body_path, "w") as file:
            file.write(body)
        with open(list_path, "w") as file:
            file.write("\n".join(side.bearers) + "\n")
        with open(script, "w") as file:
            file.write(LOAD.format(body=body_path, bearers=list_path))
        before, start = stand.cpu_seconds(side.pid), time.monotonic()
        text = stand.output(
            "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency", "-s", script,
            f"http://127.0.0.1:{side.port}/v1/messages")
        cpu, elapsed = stand.cpu_seconds(side.pid) - before, time.monotonic() - start
        result = json.loads(re.search(r"^RESULT (.*)$", text, re.M)[1])
        if side.gateway:
            side.gateway.forget_log()
        if result["requests"] == 0:
            raise Failure(f"{side.name} has answered nothing: {text}")
        result.update(
            rps=result["requests"] / (result["duration_us"] / 1e6), cpu_us=cpu / result["requests"] * 1e6,
            cores=cpu / elapsed)
        if result["bad"]:
            self.warnings.append(f"{side.name}: {result['bad']} bad answers")
        return result

    def in_turns(self, row, sides, measure, rounds=None):
        """One round after the other, each side once in each."""
        busy = stand.busy_share()
        if busy > 0.15:
            self.warnings.append(f"{row}: {busy:.0%} of the machine was in use before it began")
        for _ in range(rounds or self.options.rounds):
            for side in sides:
                side.runs.append(measure(side))

    # MARK: Rows

    def throughput(self, row, title, body, target, sides):
        for side in sides:
            self.wrk(side, body, 1)
        self.in_turns(row, sides, lambda side: self.wrk(side, body))
        floor = sides[0]
        for side in sides[1:]:
            ratios = [run["rps"] / base["rps"] for run, base in zip(side.runs, floor.runs)]
            self.table.add(
                row, title, "x floor", ratios, target, side.name, floor.median("rps"), side.median("rps"),
                cpu_us=side.median("cpu_us"), floor_cpu_us=floor.median("cpu_us"), p50_ms=side.median("p50_ms"),
                p99_ms=side.median("p99_ms"), floor_p50_ms=floor.median("p50_ms"),
                floor_p99_ms=floor.median("p99_ms"), rss_mb=stand.resident_kib(side.pid) / 1024,
                bad=sum(run["bad"] for run in side.runs))
            shares = [run["cpu_us"] / base["cpu_us"] for run, base in zip(side.runs, floor.runs)]
            self.table.add(
                row, "  CPU a request, µs", "x floor", shares, None, side.name, floor.median("cpu_us"),
                side.median("cpu_us"))
        ours = sides[1]
        self.costs[f"{row}_cpu_us"] = ours.median("cpu_us")
        self.costs[f"{row}_floor_cpu_us"] = floor.median("cpu_us")
        self.costs[f"{row}_rss_mb"] = stand.resident_kib(ours.pid) / 1024

    def row_small(self):
        sides = self.sides()
        self.throughput("small", "0.1 kB, bearer and policy", bodies.small(), (">=", 0.80), sides)

    def row_small_caps(self, row="small-caps", title="0.1 kB, caps on PostgreSQL", target=(">=", 0.60), **sections):
        sides = self.sides(is_limited=True, admin=stand.admin(), **sections)
        self.throughput(row, title, bodies.small(), target, sides)
        self.check_books(row, sides[1])

    def row_small_strict(self):
        self.row_small_caps(
            "small-strict", "0.1 kB, reserved first (strict)", None, enforcement={"overshoot": "strict"})

    def row_large(self):
        sides = self.sides()
        self.throughput("large", "130 kB, bearer and policy", bodies.large(), (">=", 0.95), sides)

    def row_large_caps(self):
        sides = self.sides(is_limited=True, admin=stand.admin())
        self.throughput("large-caps", "130 kB, caps on PostgreSQL", bodies.large(), (">=", 0.85), sides)
        self.check_books("large-caps", sides[1])

    def check_books(self, row, side):
        """Every answer is booked once and costs what it costs. wrk leaves its last requests unread."""
        database = side.gateway.config["store"]["postgres_url"]
        time.sleep(1)
        requests, amount = map(int, stand.query(
            database, "SELECT coalesce(sum(requests), 0), coalesce(sum(nanodollars), 0) FROM spend_ledger")[0])
        counter = int(stand.query(
            database, "SELECT coalesce(sum(nanodollars), 0) FROM spend WHERE period ~ '^[0-9]{4}-[0-9]{2}$'")[0][0])
        # The try before, the warm-up's and the rounds' answers; those in flight at the end of each run.
        counted = sum(run["requests"] for run in side.runs) + 1
        is_exact = amount == counter == requests * bodies.ANSWER_NANODOLLARS and requests >= counted
        self.table.add(
            row, "  the books add up", "", [int(is_exact)], (">=", 1), side.name, None, requests, answered=counted,
            nanodollars=amount, counters_nanodollars=counter)

    def relay_streams(self, side, streams, rate, seconds, ramp):
        """Holds streams open through a relay; how its processor time and memory grow by that."""
        resident = stand.resident_kib(side.pid)
        client = subprocess.Popen(
            [self.tool("streams"), "open", str(side.port), str(streams), str(ramp), str(seconds), side.bearers[0]],
            stdout=subprocess.PIPE, text=True)
        try:
            cpu = None
            for line in client.stdout:
                if line == "begin\n":
                    cpu = stand.cpu_seconds(side.pid)
                elif line == "end\n":
                    cpu = stand.cpu_seconds(side.pid) - cpu
                    resident = stand.resident_kib(side.pid) - resident
                else:
                    result = json.loads(line)
        finally:
            stand.end(client)
        if side.gateway:
            side.gateway.forget_log()
        wanted = streams * rate * result["seconds"]
        result.update(
            cpu_us=cpu / max(1, result["events"]) * 1e6, kib=resident / streams, delivered=result["events"] / wanted,
            lost=result["missing"] + result["repeated"] + result["failed"] + result["closed"])
        if result["lost"]:
            self.warnings.append(f"{side.name}: streams {json.dumps(result)}")
        return result

    def stream_parts(self, name, rate):
        """An upstream of streams, and a floor of its own before it, whose memory is fresh."""
        port, floor_port = stand.free_port(), stand.free_port()
        self.stand.start(self.tool("streams"), "serve", str(port), str(rate), "0")
        stand.wait_until(lambda: stand.accepts(port), 5, "the upstream of streams")
        return port, (floor_port, self.make_floor(name, floor_port, port).worker)

    def row_events(self, streams=1000, rate=20):
        port, floor = self.stream_parts("floor-events", rate)
        gateway = self.gateway("ours", upstreams=[anthropic(port)])
        sides = [Side("floor", floor[0], ["none"], floor[1])]
        sides.append(Side("ours", gateway.port, [gateway.bearer()], gateway.pid, gateway))
        if self.options.vs:
            other = self.gateway("other", self.options.vs, [anthropic(port)])
            sides.append(Side("other", other.port, [other.bearer()], other.pid, other))
        self.in_turns(
            "events", sides, lambda side: self.relay_streams(side, streams, rate, self.options.seconds, 2))
        for side in sides[1:]:
            ratios = [run["cpu_us"] / base["cpu_us"] for run, base in zip(side.runs, sides[0].runs)]
            self.table.add(
                "events", f"{streams} streams x {rate}/s: CPU an event, µs", "x floor", ratios, ("<=", 1.2), side.name,
                sides[0].median("cpu_us"), side.median("cpu_us"),
                delivered=min(run["delivered"] for run in side.runs), lost=sum(run["lost"] for run in side.runs))
        self.costs["event_cpu_us"] = sides[1].median("cpu_us")
        self.costs["event_floor_cpu_us"] = sides[0].median("cpu_us")

    def row_streams(self, wanted=10_000, rate=1):
        # A relay needs two descriptors for each stream.
        streams = min(wanted, (self.stand.limit - 300) // 2)
        if streams < wanted:
            self.warnings.append(
                f"streams: {streams} instead of {wanted}, because a process may have {self.stand.limit} descriptors "
                "here (ulimit -Hn)")
        port, floor = self.stream_parts("floor-streams", rate)
        sides = [Side("floor", floor[0], ["none"], floor[1]), Side("ours", 0, [], 0)]
        if self.options.vs:
            sides.append(Side("other", 0, [], 0))

        def measure(side):
            gateway = None
            if side.name != "floor":
                # Memory is looked at in a fresh process.
                gateway = self.gateway(side.name, side.name == "other" and self.options.vs or None, [anthropic(port)])
                side.port, side.bearers, side.pid, side.gateway = (
                    gateway.port, [gateway.bearer()], gateway.pid, gateway)
            result = self.relay_streams(side, streams, rate, max(self.options.seconds, 3), streams / 2500)
            if gateway:
                gateway.stop()
            else:
                time.sleep(1)
            return result

        self.in_turns("streams", sides, measure, min(self.options.rounds, 3))
        # Its workers keep what an earlier round has made them take.
        floor_kib = sides[0].runs[0]["kib"]
        for side in sides[1:]:
            lost = [run["lost"] for run in side.runs]
            self.table.add(
                "streams", f"{streams} streams x {rate}/s: lost or closed", "", lost, ("<=", 0), side.name,
                sides[0].median("lost"), side.median("lost"), delivered=min(run["delivered"] for run in side.runs))
            self.table.add(
                "streams", "  p99 delay of an event, ms", "ms more",
                [(run["p99_us"] - base["p99_us"]) / 1000 for run, base in zip(side.runs, sides[0].runs)],
                ("<=", 50), side.name, sides[0].median("p99_us") / 1000, side.median("p99_us") / 1000)
            self.table.add(
                "streams", "  resident memory a stream", "KiB", [run["kib"] for run in side.runs], ("<=", 12),
                side.name, floor_kib, side.median("kib"))
        self.costs["stream_kib"] = sides[1].median("kib")

    def row_first_byte(self, row="first-byte", title="first byte at 500/s, 0.1 kB", body=None, targets=(0.25, 1.5)):
        sides = self.sides()
        path = self.stand.path("arrivals-body")
        with open(path, "w") as file:
            file.write(body or bodies.small())
        seconds = max(self.options.seconds, 2) * len(sides)
        busy = stand.busy_share()
        if busy > 0.15:
            self.warnings.append(f"{row}: {busy:.0%} of the machine was in use before it began")
        late = []
        for _ in range(self.options.rounds):
            words = [word for side in sides for word in (str(side.port), side.bearers[0])]
            result = json.loads(stand.output(
                self.tool("arrivals"), "500", f"{seconds:g}", str(len(sides)), "250", path, *words))
            late.append(result["late_p99_us"] / 1000)
            for side, run in zip(sides, result["targets"]):
                if run["bad"] or run["answered"] != run["sent"]:
                    self.warnings.append(f"{row}: {side.name} {json.dumps(run)}")
                side.runs.append(run)
                if side.gateway:
                    side.gateway.forget_log()
        for side in sides[1:]:
            for share, bound in zip(("p50", "p99"), targets):
                added = [(run[share + "_us"] - base[share + "_us"]) / 1000
                         for run, base in zip(side.runs, sides[0].runs)]
                self.table.add(
                    row, f"{title}: {share}, ms", "ms more", added, bound and ("<=", bound), side.name,
                    sides[0].median(share + "_us") / 1000, side.median(share + "_us") / 1000,
                    generator_late_p99_ms=late)

    def row_first_byte_large(self):
        self.row_first_byte("first-byte-130k", "first byte at 500/s, 130 kB", bodies.large(), (None, None))

    def row_start(self, starts=10):
        commands = {"ours": None}
        if self.options.vs:
            commands["other"] = self.options.vs
        for who, command in commands.items():
            gateway = self.gateway(who, command, admin=stand.admin())
            gateway.stop()
            times, idle = [], None
            for index in range(starts):
                begin = time.monotonic()
                gateway.spawn()
                stand.wait_until(lambda: is_healthy(gateway), 30, f"{who} does not answer", 0.0003)
                times.append((time.monotonic() - begin) * 1000)
                if index == starts - 1:
                    time.sleep(3)
                    idle = stand.memory(gateway.pid)
                gateway.stop()
            self.table.add("start", "exec to first answer, migrated", "ms", times, ("<=", 150), who)
            self.table.add("start", "  idle memory, resident", "MB", [idle["rss_mb"]], ("<=", 40), who, **idle)
            self.table.add("start", "  idle memory, proportional share", "MB", [idle["pss_mb"]], None, who)
            self.table.add("start", "  idle memory, private", "MB", [idle["private_mb"]], None, who)
            if who == "ours":
                self.costs["idle_mb"] = idle["rss_mb"]

    def row_bedrock(self):
        upstream = {
            "provider": "bedrock", "region": "us-east-1", "base_url": f"http://127.0.0.1:{self.bedrock_port}",
            "auth": {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI"},
        }
        for title, target, sections in (
            ("event stream to SSE, a core", (">=", 300), {}), ("  the same, metered", None, {"admin": stand.admin()}),
        ):
            gateway = self.gateway("bedrock", upstreams=[upstream], **sections)
            side = Side("ours", gateway.port, [gateway.bearer()], gateway.pid, gateway)
            answer = stand.send(
                gateway.url + "/v1/messages", "POST", bodies.small(True), stand.post_headers(side.bearers[0]))
            events = answer.body.count(b"\nevent: ") + answer.body.startswith(b"event: ")
            if answer.status != 200 or events != self.bedrock_events or b"message_stop" not in answer.body[-100:]:
                raise Failure(
                    f"of {self.bedrock_events} events {events} came, status {answer.status}: {answer.body[-300:]}\n"
                    + gateway.log()[-500:])
            self.in_turns("bedrock", [side], lambda one: self.wrk(one, bodies.small(True), connections=4))
            speeds = [len(self.bedrock_body) / run["cpu_us"] for run in side.runs]
            self.table.add("bedrock", title, "MB/s", speeds, target, sse_bytes=len(answer.body))
            self.costs["bedrock_mb_per_core_second"] = statistics.median(speeds)
            gateway.stop()

    def row_scale(self, factor=100, people=100):
        """A hundred times of what a request might get slower with."""

        def policies(count):
            groups = [
                {"match": {"groups": [f"team-{index}"]}, "cli": {"availableModels": [stand.MODEL, f"custom-{index}"]}}
                for index in range(count - 1)
            ]
            return {"policies": [*groups, {"match": {}, "cli": {"availableModels": [stand.MODEL]}}]}

        def models(count):
            return [
                {"id": f"custom-{index}", "upstream_model": {"anthropic": stand.MODEL}} for index in range(count)
            ]

        def bearers(gateway, count, sessions=0):
            return [
                gateway.bearer(f"developer-{index}", session=f"session-{index}" if index < sessions else None)
                for index in range(count)
            ]

        def many_sessions(gateway, count):
            stand.query(
                gateway.config["store"]["postgres_url"],
                "INSERT INTO sessions (id, subject, email, created_at, refreshed_at, generation) SELECT "
                "'session-' || n, 'developer-' || n, 'developer-' || n || '@example.com', 0, "
                f"extract(epoch FROM now())::bigint * 1000, 1 FROM generate_series(0, {count - 1}) AS n")

        def make(name, policy_count=1, model_count=3, person_count=people, session_count=people):
            gateway = self.gateway(name, models=models(model_count), managed=policies(policy_count))
            many_sessions(gateway, session_count)
            return Side(
                name, gateway.port, bearers(gateway, person_count, session_count), gateway.pid, gateway)

        sides = [
            make("base"), make("policies", policy_count=factor), make("models", model_count=3 * factor),
            make("principals", person_count=people * factor), make("sessions", session_count=people * factor),
            make("all", factor, 3 * factor, people * factor, people * factor),
        ]
        body = bodies.small()
        grown = {}
        for side in sides:
            before = stand.resident_kib(side.pid)
            # Each bearer once, so that what is measured is not their first use.
            self.wrk(side, body, 2 if len(side.bearers) > people else 1)
            grown[side.name] = stand.resident_kib(side.pid) - before
        # Against what the same load takes with few bearers. Each loop keeps those that it sees.
        more = len(sides[3].bearers) - len(sides[0].bearers)
        self.costs["bearer_kib"] = max(0, grown["principals"] - grown["base"]) / more / (os.cpu_count() or 1)
        self.in_turns("scale", sides, lambda side: self.wrk(side, body, self.options.seconds / 2))
        base = sides[0]
        for side in sides[1:]:
            ratios = [run["rps"] / other["rps"] for run, other in zip(side.runs, base.runs)]
            self.table.add(
                "scale", f"{side.name} x {factor}, requests/s", "x base", ratios, (">=", 0.95),
                floor=base.median("rps"), measured=side.median("rps"))
            shares = [run["cpu_us"] / other["cpu_us"] for run, other in zip(side.runs, base.runs)]
            self.table.add(
                "scale", "  CPU a request, µs", "x base", shares, None, floor=base.median("cpu_us"),
                measured=side.median("cpu_us"))
        self.table.add("scale", "  memory of a bearer on a loop", "KiB", [self.costs["bearer_kib"]], None)

    def row_instructions(self):
        for found in instructions.measure(self.stand, self.binary, self.provider, self.postgres):
            target = ("<=", 45_000) if found["row"] == "metered-postgres" else None
            self.table.add("instructions", found["title"], "on loops", [found["on_loop"]], target)
            self.table.add("instructions", "  on all threads", "", [found["instructions"]])
            self.table.add("instructions", "  calls to the allocator", "", [found["allocations"]])
            self.costs[f"instructions_{found['row']}"] = found["instructions"]


LOAD = """
local file = io.open("{body}", "rb")
local body = file:read("*a")
file:close()
local bearers = {{}}
for line in io.lines("{bearers}") do bearers[#bearers + 1] = line end
wrk.method = "POST"
wrk.body = body
wrk.headers["content-type"] = "application/json"
wrk.headers["anthropic-version"] = "2023-06-01"
wrk.headers["authorization"] = "Bearer " .. bearers[1]
if #bearers > 1 then
    local requests, turn = {{}}, 0
    init = function()
        for index, bearer in ipairs(bearers) do
            wrk.headers["authorization"] = "Bearer " .. bearer
            requests[index] = wrk.format()
        end
    end
    request = function()
        turn = turn % #requests + 1
        return requests[turn]
    end
end
done = function(summary, latency)
    local errors = summary.errors
    local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format(
        'RESULT {{"requests":%d,"duration_us":%d,"bytes":%d,"bad":%d,"p50_ms":%.4f,"p99_ms":%.4f}}\\n',
        summary.requests, summary.duration, summary.bytes, bad, latency:percentile(50) / 1000,
        latency:percentile(99) / 1000))
end
"""


def is_healthy(gateway):
    """As few steps as there can be between the answer and knowing of it."""
    if gateway.process.poll() is not None:
        raise Failure(f"{gateway.name} has ended: {gateway.log()[-800:]}")
    try:
        return stand.send(gateway.url + "/healthz", timeout=5).status == 200
    except OSError:
        return False


ROWS = {
    "small": Bench.row_small, "small-caps": Bench.row_small_caps, "small-strict": Bench.row_small_strict,
    "large": Bench.row_large, "large-caps": Bench.row_large_caps, "events": Bench.row_events,
    "streams": Bench.row_streams, "first-byte": Bench.row_first_byte, "first-byte-130k": Bench.row_first_byte_large,
    "start": Bench.row_start, "bedrock": Bench.row_bedrock, "scale": Bench.row_scale,
    "instructions": Bench.row_instructions,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", default=".build-release/release/claude")
    parser.add_argument("--vs", metavar="COMMAND", help="another gateway: a binary, or a command with {config} in it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each run")
    parser.add_argument("--rows", default=",".join(ROWS), help="of: %(default)s")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows = options.rows.split(",")
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        parser.error(f"there are no rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if options.vs and "{config}" not in options.vs and len(shlex.split(options.vs)) > 1:
        options.vs += " {config}"
    facts = stand.machine(options.binary)
    stand.warn_if_busy(facts)
    failures = []
    with Stand() as where:
        bench = Bench(where, options)
        for row in rows:
            depth = len(where.undo)
            try:
                ROWS[row](bench)
            except (Failure, subprocess.SubprocessError, OSError) as failure:
                # The other rows do not suffer from it.
                failures.append(f"{row}: {failure}")
                print(f"{row}: {failure}", file=sys.stderr)
            where.unwind(depth)
        for warning in bench.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        if options.json:
            result = {
                "machine": facts, "options": vars(options), "figures": bench.table.figures, "costs": bench.costs,
                "warnings": bench.warnings, "failures": failures,
            }
            with open(options.json, "w") as file:
                json.dump(result, file, indent=1)
    if failures or any(figure.get("bad") for figure in bench.table.figures):
        sys.exit(1)


if __name__ == "__main__":
    main()

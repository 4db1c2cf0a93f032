# SPDX-License-Identifier: Apache-2.0
"""A rolling upgrade and the way back, rehearsed: two replicas on one database behind HAProxy with deploy/haproxy.cfg, a
steady load, and no request may fail. Every answer must come whole and be in the books once.

Under load, the first replica and then the second is replaced by the new version, as docs/operations.md says. Then a
later version, which does not exist yet, is played by what its migration may do: a column more in every table, a table
and an index more. One replica goes back to the old version on that database. At last one stops without notice: that may
fail only what deploy/haproxy.cfg says cannot be sent again, requests that do not fit into its buffer.

Of two different binaries the new one migrates while the old one serves. Its migrations must begin with the old one's,
and what they add must take nothing from a version that runs.

Before that, every earlier schema: the statements of each migration are taken off the wire, and for each number of steps
a database that ends there is given to two replicas that start at once.
"""
import argparse
import asyncio
import collections
import contextlib
import csv
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import sys
import time
import urllib.parse

import stand
from soak import Connection, Soak
from stand import Failure, Gateway, IdentityProvider, Pipe, Postgres, Stand, anthropic, output, query, wait_until

METERED = ("json", "large", "stream", "leave")
# What takes something from a version that runs: a name, a type, a row, or a value that it does not write.
DISTURBING = re.compile(
    r"\b(DROP|RENAME|TRUNCATE|DELETE|ALTER COLUMN|ADD CONSTRAINT)\b|ADD COLUMN(?!.*\bDEFAULT\b).*NOT NULL", re.S)


class Rehearsal(Soak):
    def __init__(self, where, options):
        super().__init__(where, argparse.Namespace(seed=1))
        self.old = self.new = self.keep(options.old, "old")
        if not os.path.samefile(options.old, options.new):
            self.new = self.keep(options.new, "new")
        self.seconds, self.is_surprised = options.seconds, False

    def keep(self, binary, name):
        """A binary may be built anew meanwhile."""
        target = shutil.copy2(binary, self.stand.path(name))
        print(f"{name}: {output(target, '--version').strip()}, sha256 {stand.digest(target)[:16]}")
        return target

    def start(self):
        self.postgres = Postgres(self.stand)
        self.provider = IdentityProvider(self.stand, subjects=1000)
        self.provider.prepare()
        self.upstreams, self.processes = {"a": stand.free_port()}, {}
        self.start_upstream("a")
        self.stand.later(lambda: stand.end(self.processes["a"]))
        self.collector_port = stand.free_port()

    def make_gateway(self, name, binary, database, **listen):
        journal = self.stand.path("journal-" + name)
        os.makedirs(journal, exist_ok=True)
        often = {"max": 1_000_000, "window_seconds": 600}
        gateway = Gateway(
            self.stand, binary, self.provider, name, database, [anthropic(self.upstreams["a"], name="a")],
            admin=stand.admin(), enforcement={"journal_dir": journal},
            telemetry={"forward_to": [{"url": f"http://127.0.0.1:{self.collector_port}"}]},
            rate_limits={"device_authorization": often, "device_verify": often})
        gateway.config["listen"].update(listen)
        gateway.write(gateway.config)
        return gateway

    def ask(self, gateway, bearer, mode, **options):
        """One request that is not of the load."""
        body = {
            "model": stand.MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": f"soak:{mode}:1:1;"}]}
        return stand.send(gateway.url + "/v1/messages", "POST", body, stand.post_headers(bearer), **options)

    # MARK: Earlier schemas

    def steps(self, binary, name):
        """The table of migrations, and those of a version: the name and the statements of each."""
        database, depth = self.postgres.make(name), len(self.stand.undo)
        pipe = Pipe(self.stand, self.postgres.port, is_watching=True)
        self.make_gateway(name, binary, self.postgres.url(name, pipe.port)).start()
        self.stand.unwind(depth)
        names = [row[0] for row in query(database, "SELECT name FROM gateway_migrations ORDER BY version")]
        table, statements, steps = None, [], []
        for statement in pipe.statements:
            if statement.startswith("CREATE TABLE IF NOT EXISTS gateway_migrations"):
                table = statement
            elif statement.startswith("INSERT INTO gateway_migrations"):
                steps.append(statements)
            statements = [] if statement == "BEGIN" else [*statements, statement]
        if not table or len(steps) != len(names):
            raise Failure(f"there are {len(names)} migrations, and {len(steps)} on the wire")
        return table, list(zip(names, steps))

    def check_schemas(self):
        table, steps = self.steps(self.old, "steps-old")
        if self.new != self.old:
            old = steps
            table, steps = self.steps(self.new, "steps-new")
            if steps[:len(old)] != old:
                raise Failure("the new version's migrations do not begin with the old one's")
            for name, statements in steps[len(old):]:
                for statement in filter(DISTURBING.search, statements):
                    raise Failure(f"migration {name} takes something from a version that runs: {statement}")
        for count in range(len(steps)):
            self.check_schema(table, steps, count)
        print(f"schemas: after 0 to {len(steps) - 1} of {len(steps)} steps, two replicas at once took the rest")

    def check_schema(self, table, steps, count):
        database, depth = self.postgres.make(f"after-{count}"), len(self.stand.undo)
        past = [table]
        for number, (name, statements) in enumerate(steps[:count], 1):
            past += [*statements, f"INSERT INTO gateway_migrations (version, name) VALUES ({number}, '{name}')"]
        query(database, ";\n".join(past))
        pair = [self.make_gateway(f"after-{count}-{name}", self.new, database) for name in "ab"]
        for gateway in pair:
            gateway.spawn()
            self.stand.later(gateway.stop)
        for gateway in pair:
            wait_until(lambda: stand.accepts(gateway.port), 20, f"{gateway.name} does not start")
            answer = self.ask(gateway, gateway.bearer("developer"), "json")
            if answer.status != 200:
                raise Failure(f"after {count} steps: {answer.status} {answer.body[:300]}")
        self.stand.unwind(depth)
        applied = re.findall(r"migration (\d+) \(.*\) applied", "".join(gateway.log() for gateway in pair))
        if sorted(map(int, applied)) != list(range(count + 1, len(steps) + 1)):
            raise Failure(f"after {count} of {len(steps)} steps, {applied} were applied")
        if query(database, "SELECT sum(requests) FROM spend_ledger") != [["2"]]:
            raise Failure(f"after {count} steps, the books do not have the two requests")

    # MARK: HAProxy

    def start_haproxy(self):
        """deploy/haproxy.cfg with addresses and paths of here, and without TLS too, so that the load is cheap."""
        self.certificate, self.control = self.stand.path("claude.pem"), self.stand.path("admin.sock")
        output(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.certificate + ".key",
            "-out", self.certificate)
        self.tls_port = stand.free_port()
        with open(os.path.join(stand.HERE, "../deploy/haproxy.cfg")) as file:
            text = file.read()
        for pattern, replacement in (
            (r"    (chroot|user|group) .*\n", ""), (r"/dev/log local0", "stdout format raw local0"),
            (r"/run/haproxy/admin\.sock mode 660", self.control),
            (r"bind :443 ssl crt \S+",
             f"bind 127.0.0.1:{self.gateway.port}\n    bind 127.0.0.1:{self.tls_port} ssl crt {self.certificate}"),
            (r"10\.0\.0\.11:8080", f"127.0.0.1:{self.replicas['a'].port}"),
            (r"10\.0\.0\.12:8080", f"127.0.0.1:{self.replicas['b'].port}"),
        ):
            text, count = re.subn(pattern, replacement, text)
            if not count:
                raise Failure(f"deploy/haproxy.cfg has no {pattern}")
        with open(self.stand.path("haproxy.cfg"), "w") as file:
            file.write(text)
        with open(self.stand.path("haproxy.log"), "w") as log:
            self.stand.start("haproxy", "-db", "-f", file.name, stdout=log, stderr=log)
        wait_until(lambda: stand.accepts(self.gateway.port), 5, "HAProxy does not start")
        for name in self.replicas:
            self.wait_for_haproxy(name)

    def tell_haproxy(self, command):
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(self.control)
            control.sendall(command.encode() + b"\n")
            text = b"".join(iter(lambda: control.recv(1 << 16), b"")).decode()
        if text.strip() and not text.startswith("#"):
            raise Failure(f"HAProxy, {command}: {text.strip()}")
        return text.removeprefix("# ")

    def wait_for_haproxy(self, name):
        def is_up():
            rows = csv.DictReader(self.tell_haproxy("show stat").splitlines())
            return any(row["svname"] == name and row["status"] == "UP" for row in rows)

        wait_until(is_up, 20, f"HAProxy sends nothing to {name}")

    def check_haproxy(self, bearer):
        """What its configuration promises besides: TLS, and that a client who leaves ends the request to the model."""
        context = ssl.create_default_context(cafile=self.certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", self.tls_port, timeout=10, context=context)
        with contextlib.closing(connection):
            connection.request("GET", "/readyz")
            if connection.getresponse().status != 200:
                raise Failure("HAProxy does not serve over TLS")
        with contextlib.suppress(TimeoutError):
            self.ask(self.gateway, bearer, "once-stall", timeout=0.5)
        wait_until(
            lambda: any('"status":499' in gateway.log() for gateway in self.replicas.values()), 2,
            "a client who has left keeps the request to the model")

    # MARK: Steps

    def replace(self, name, binary, is_announced=True):
        gateway = self.replicas[name]
        if is_announced:
            self.tell_haproxy(f"set server gateways/{name} state drain")
        begin = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        status, took = gateway.process.wait(80), time.monotonic() - begin
        if status != 0:
            self.problems.append(f"end: {name} has ended with {status}")
        gateway.command[0] = binary
        gateway.start()
        if is_announced:
            self.tell_haproxy(f"set server gateways/{name} state ready")
        self.wait_for_haproxy(name)
        return f"its last answer took {took:.1f} s"

    def migrate_later(self):
        tables = [row[0] for row in query(
            self.database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]
        for statement in (
            *(f"ALTER TABLE {table} ADD COLUMN later bigint NOT NULL DEFAULT 0" for table in tables),
            "CREATE TABLE later_things (id text PRIMARY KEY)",
            "CREATE INDEX later_ledger ON spend_ledger (principal, at)",
            "INSERT INTO gateway_migrations (version, name) SELECT max(version) + 1, 'later' FROM gateway_migrations",
        ):
            query(self.database, statement)
        return f"{len(tables)} tables changed"

    async def step(self, what, action=None, *arguments):
        answers, failed, begin = sum(self.answers.values()), sum(self.unexpected.values()), time.monotonic()
        remark = await asyncio.to_thread(action, *arguments) if action else ""
        await asyncio.sleep(self.seconds)
        took = time.monotonic() - begin
        answers, failed = sum(self.answers.values()) - answers, sum(self.unexpected.values()) - failed
        print(f"{what:<36} {took:4.1f} s, {answers:>5} answers, {failed} failed; {remark}".rstrip("; "), flush=True)

    # MARK: Load

    def expect(self, kind, status, allowed, detail=b""):
        # Too large for HAProxy's buffer; and that it is not ready is the truth.
        if self.is_surprised and (kind, status) in (("large", 502), ("large", "no answer"), ("ready", 503)):
            allowed = {status}
        super().expect(kind, status, allowed, detail)

    async def fresh_client(self, pause, bearer=None):
        """A connection for each request."""
        while not self.is_over:
            connection = Connection(self.gateway.port)
            await self.message(connection, "json", bearer)
            connection.close()
            await asyncio.sleep(self.random.expovariate(1 / pause))

    async def devices(self):
        """One that stays signed in, and others that come: each step of it may meet another version."""

        def taken(kind, answer):
            self.expect(kind, answer.status, {200}, answer.body)
            return answer.json if answer.status == 200 else None

        session = None
        while not self.is_over:
            try:
                newest = taken("sign-in", await asyncio.to_thread(stand.sign_in, self.gateway.url))
                session = session or newest
                if session:
                    form = {"grant_type": "refresh_token", "refresh_token": session["refresh_token"]}
                    session = taken("refresh", await asyncio.to_thread(
                        stand.send, self.gateway.url + "/oauth/token", "POST", urllib.parse.urlencode(form),
                        {"content-type": "application/x-www-form-urlencoded"}))
                if session:
                    self.bearers[0] = session["access_token"]
            except (OSError, http.client.HTTPException) as failure:
                self.expect("sign-in", "no answer", set(), str(failure).encode())
            await asyncio.sleep(0.5)

    async def run(self):
        await self.collect()
        await asyncio.to_thread(self.check_schemas)
        self.database, port = self.postgres.make("rolling"), stand.free_port()
        # What the load asks: HAProxy.
        self.gateway = collections.namedtuple("Front", "port url")(port, f"http://127.0.0.1:{port}")
        self.replicas = {
            name: self.make_gateway(
                name, self.old, self.database, public_url=self.gateway.url, trusted_proxies=["127.0.0.1"])
            for name in "ab"
        }
        for replica in self.replicas.values():
            await asyncio.to_thread(replica.start)
        await asyncio.to_thread(self.start_haproxy)
        signed_in = [await asyncio.to_thread(stand.sign_in, self.gateway.url) for _ in range(10)]
        self.bearers = [answer.json["access_token"] for answer in signed_in]
        await asyncio.to_thread(self.check_haproxy, self.bearers[0])
        self.is_loading.set()
        clients = [asyncio.create_task(client) for client in (
            *(self.client(["json"], 0.1) for _ in range(4)), *(self.fresh_client(0.1) for _ in range(2)),
            *(self.client(["large"], 0.3, filler="x \u00e9\n" * 25_000) for _ in range(2)),
            # Answers of 0.6 s and of 5 s; of the latter, soak.py's clients leave in the middle, and these do not.
            *(self.client(["stream"], 0.2) for _ in range(8)), *(self.client(["leave"], 0.2) for _ in range(8)),
            self.others(), self.devices())]
        await self.step("two replicas of the old version")
        await self.step("the first is replaced", self.replace, "a", self.new)
        await self.step("the second is replaced", self.replace, "b", self.new)
        await self.step("a later version migrates", self.migrate_later)
        await self.step("the first goes back on that schema", self.replace, "a", self.old)
        self.is_surprised = True
        await self.step("the second stops without notice", self.replace, "b", self.new, False)
        self.is_over = True
        done, late = await asyncio.wait(clients, timeout=30)
        for client in done:
            client.result()
        if late:
            raise Failure(f"{len(late)} clients do not end")
        self.collector.close()
        await asyncio.sleep(1)
        await asyncio.to_thread(self.check_books)
        await self.settle(time.time() + 60)

    def check_books(self):
        answered = sum(self.answers[f"{mode} 200"] for mode in METERED)
        booked = int(query(self.database, "SELECT sum(requests) FROM spend_ledger")[0][0])
        if booked != answered:
            self.problems.append(f"books: {booked} requests are booked, and {answered} were answered")
        print(f"books: {answered} answers metered, {booked} booked, {self.check_counters() / 1e9:.2f} dollars")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--seconds", type=float, default=6, help="of load after each step (6)")
    options = parser.parse_args()
    with Stand("upgrade") as where:
        rehearsal = Rehearsal(where, options)
        try:
            rehearsal.start()
            asyncio.run(rehearsal.run())
        except Failure as failure:
            rehearsal.problems.append(str(failure))
        print(", ".join(f"{count} {kind}" for kind, count in sorted(rehearsal.answers.items())))
        failures = [f"unexpected: {kind}, {count} times" for kind, count in rehearsal.unexpected.items()]
        failures += rehearsal.problems[:20]
    for failure in failures:
        print("FAILED " + failure)
    print("failed" if failures else "no request failed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()

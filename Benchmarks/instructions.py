# SPDX-License-Identifier: Apache-2.0
"""Counts what a request costs in user-space instructions and calls to the allocator, in the real binary under
callgrind. Unlike times these hardly depend on the machine and its load, so they have committed bounds: thresholds.json.
Also finds the functions that are to stand together in the program (functions.py).

Counted are all threads, and of these the event loops by themselves. What the others do (limits, bookings, log lines) is
shared by fewer requests here than under real load, because callgrind is some fifty times slower than the processor.
"""
import argparse
import glob
import http.client
import json
import os
import sys
import time

import bodies
import functions
import stand
from stand import Failure, Gateway, IdentityProvider, Nginx, Postgres, Stand, anthropic

THRESHOLDS = os.path.join(stand.HERE, "thresholds.json")
WARM_UP = 200
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}
EVENTS, EVENT_RATE = 100, 500
LEAST_IN_ORDER = 0.7

ROWS = {
    # What is measured, how many requests, on how many connections at once, and whether caps are on. A limit is read and
    # an answer is booked for many at once, so one after the other would be no measure of that.
    "small": ("0.1 kB, bearer and policy", 1000, 1, False),
    "metered-sqlite": ("0.1 kB, metered, SQLite", 3200, 32, True),
    "metered-postgres": ("0.1 kB, metered, PostgreSQL", 3200, 32, True),
    "large": ("130 kB, bearer and policy", 200, 1, False),
    "event": (f"an event of a stream of {EVENTS}", 20, 1, False),
}


def summary(records):
    """Instructions, calls to the allocator, and whether it is an event loop, of one thread."""
    total = sum(cost for _, _, callee, _, cost in records if not callee)
    calls = sum(calls for _, _, callee, calls, _ in records if callee in ALLOCATORS)
    return total, calls, any("epoll_wait" in record[1:3] for record in records)


def count(stand_, gateway, requests, width, begin, finish, profile):
    """Runs requests with counting turned on, and reads the dumps."""
    connections = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60) for _ in range(width)]

    def run(times):
        for _ in range(times // width):
            for connection in connections:
                begin(connection)
            for connection in connections:
                finish(connection)

    run(max(width, min(WARM_UP, requests)))
    control = ["callgrind_control", str(gateway.pid)]
    stand.output(*control, "-i", "on")
    run(requests)
    # What belongs to the last ones, such as their booking.
    time.sleep(0.2)
    stand.output(*control, "-i", "off")
    stand.output(*control, "-d")
    pattern = stand_.path(gateway.name + ".dump.1-*")
    dumps = stand.wait_until(lambda: glob.glob(pattern), 10, "callgrind writes no dump")
    records = [list(functions.read(path)) for path in dumps]
    threads = [summary(some) for some in records]
    loops = [thread for thread in threads if thread[2]]
    for some, thread in zip(records, threads):
        if thread[2]:
            profile.add(some, requests)
    return {
        "instructions": round(sum(thread[0] for thread in threads) / requests),
        "on_loop": round(sum(thread[0] for thread in loops) / requests),
        "allocations": round(sum(thread[1] for thread in threads) / requests, 1),
        "allocations_on_loop": round(sum(thread[1] for thread in loops) / requests, 1),
    }


def measure(stand_, binary, provider, postgres, rows=None, profile=None):
    """Yields a result for each row, and tells `profile` which functions ran."""
    profile = profile or functions.Functions()
    # valgrind 3.19 does not understand the debug information that Swift writes.
    stripped = stand_.path("stripped")
    if not os.path.exists(stripped):
        stand.output("strip", "-g", "-o", stripped, binary)
    json_port, stream_port = stand.free_port(), stand.free_port()
    name = f"instructions-{json_port}"
    Nginx(stand_, name, f"""
    server {{
        listen 127.0.0.1:{json_port};
        location / {{ default_type application/json; return 200 '{bodies.ANSWER}'; }}
    }}""")
    streams = stand_.compile("streams")
    stand_.start(streams, "serve", str(stream_port), str(EVENT_RATE), str(EVENTS))
    stand.wait_until(lambda: stand.accepts(stream_port), 5, "the upstream of streams")
    for row in rows or ROWS:
        title, requests, width, is_limited = ROWS[row]
        store = stand_.path(row + ".sqlite")
        if row == "metered-postgres":
            store = postgres.make(name)
        sections = {"admin": stand.admin()} if is_limited else {}
        gateway = Gateway(
            stand_, stripped, provider, f"{name}-{row}", store,
            [anthropic(stream_port if row == "event" else json_port)], wrapper=[
                "valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes",
                f"--callgrind-out-file={stand_.path(f'{name}-{row}.dump')}",
            ], **sections).start(120)
        if is_limited:
            gateway.limit(100_000_000)
        body = bodies.large() if row == "large" else bodies.small(row == "event")
        headers = stand.post_headers(gateway.bearer())

        def begin(connection):
            connection.request("POST", "/v1/messages", body, headers)

        def finish(connection):
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200 or (row == "event" and content.count(b"content_block_delta\"") != EVENTS):
                raise Failure(f"{row}: {answer.status} {content[-300:]}")

        result = count(stand_, gateway, requests, width, begin, finish, profile)
        gateway.stop()
        if row == "event":
            # The request's own part is in it as well: a hundredth.
            result = {key: round(value / EVENTS, 1) for key, value in result.items()}
        yield {"row": row, "title": title, **result}


def check(results, thresholds):
    """What is above its bound."""
    return [
        f"{found['row']}: {found[key]:g} {key.replace('_', ' ')}, bound {bound:g}"
        for found in results for key, bound in thresholds.get(found["row"], {}).items() if found[key] > bound
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", default=".build-release/release/claude")
    parser.add_argument("--rows", default=",".join(ROWS), help="of: %(default)s")
    parser.add_argument("--check", action="store_true", help="fails when a bound of thresholds.json is passed")
    parser.add_argument("--update", action="store_true", help="writes bounds a tenth above what is measured")
    parser.add_argument("--order", action="store_true", help="writes which functions the linker is to place together")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows = options.rows.split(",")
    if set(rows) - set(ROWS):
        parser.error(f"rows are {', '.join(ROWS)}")
    facts = stand.machine(options.binary)
    results = []
    profile = functions.Functions()
    line = "{:<38} {:>12} {:>12} {:>12} {:>12}"
    print(line.format("a request", "instructions", "on loops", "allocations", "on loops"))
    with Stand("instructions") as where:
        binary = where.copy(options.binary)
        postgres = Postgres(where) if "metered-postgres" in rows else None
        for found in measure(where, binary, IdentityProvider(where), postgres, rows, profile):
            results.append(found)
            values = [f"{found[key]:g}" if found[key] < 1e6 else str(round(found[key])) for key in (
                "instructions", "on_loop", "allocations", "allocations_on_loop")]
            print(line.format(found["title"], *values), flush=True)
    share = profile.share(set(functions.ordered()))
    if share is None:
        print("the program has no symbols: whether functions.order is up to date cannot be seen")
        if options.order:
            sys.exit("and nothing can be written into it")
    else:
        print(f"{share:.0%} of the program's own instructions on loops are in functions that functions.order names")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": facts, "rows": results, "in_order": share}, file, indent=1)
    if options.order:
        with open(functions.ORDER, "w") as file:
            file.writelines(name + "\n" for name in profile.order(functions.placeable(options.binary)))
        print("functions.order is written; it counts from the next build on")
    thresholds = {}
    if os.path.exists(THRESHOLDS):
        with open(THRESHOLDS) as file:
            thresholds = json.load(file)
    if options.update:
        for found in results:
            bounds = thresholds[found["row"]] = {}
            for key in ("instructions", "on_loop", "allocations"):
                # How many requests share a booking depends on the machine.
                room = 1.3 if found["row"].startswith("metered") and key != "on_loop" else 1.1
                bounds[key] = round(found[key] * room, 1 if found[key] < 1000 else None)
        with open(THRESHOLDS, "w") as file:
            json.dump(thresholds, file, indent=2)
            file.write("\n")
    elif options.check:
        passed = check(results, thresholds)
        unknown = [found["row"] for found in results if found["row"] not in thresholds]
        if share is not None and share < LEAST_IN_ORDER:
            passed.append(f"functions.order is out of date: {share:.0%} of the instructions, bound {LEAST_IN_ORDER:.0%}")
        passed += [f"{row}: no bounds in thresholds.json" for row in unknown]
        if passed:
            sys.exit("\n".join(passed))
        print("within the bounds of thresholds.json")


if __name__ == "__main__":
    main()

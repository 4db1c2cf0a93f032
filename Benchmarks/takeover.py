# SPDX-License-Identifier: Apache-2.0
"""The three ways of docs/migrating.md, with the existing gateway that is named and this one, each on a database of its
own. Three developers sign in at the old one, get limits and a pool, and spend; then the new one has that database.
The SQL and the commands are those of the page, taken from it.

Compared are, each time a gateway takes over: limits, pools, their audit, everybody's effective limits and spend by the
admin API, what each developer sees of their own, and the counters to the nano-dollar. Who was refused is refused with
the same headers, who was below the limit may go on exactly as long, bearers count at both, and refresh tokens do not.
"""
import argparse
import contextlib
import datetime
import http.server
import json
import os
import re
import sys
import textwrap
import threading
import time
import urllib.parse
from decimal import Decimal

import stand
from stand import (
    ADMIN_KEY, Failure, Gateway, IdentityProvider, Pipe, Postgres, Stand, anthropic, output, query, wait_until)

LIMITS = "/v1/organizations/spend_limits"
# A message of so many input tokens, and what it costs with its one output token, in billionths of a dollar.
TOKENS = 100_000
PRICE = TOKENS * 3_000 + 15_000
# Three messages are below it, four above.
DAILY = 100


class Upstream:
    """Answers at once, and says that the request had as many tokens as its text names."""

    def __init__(self, where):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"data":[]}')

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                usage = {"input_tokens": int(request["messages"][0]["content"]), "output_tokens": 1}
                message = {
                    "id": "msg_1", "type": "message", "role": "assistant", "model": request["model"], "content": [],
                    "usage": usage, "stop_reason": None, "stop_sequence": None,
                }
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                for event in (
                    {"type": "message_start", "message": message},
                    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
                    {"type": "message_stop"},
                ):
                    self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where.later(server.shutdown)


def page_blocks():
    """The blocks of docs/migrating.md by the heading above them."""
    blocks = {}
    with open(os.path.join(stand.HERE, "../docs/migrating.md")) as file:
        for section in file.read().split("\n## ")[1:]:
            blocks[section.split("\n")[0]] = [
                textwrap.dedent(block) for block in re.findall(r"^ *```text\n(.*?)^ *```", section, re.M | re.S)]
    return blocks


def quantity(value):
    """Of an amount in cents, or of a time in seconds."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    with contextlib.suppress(TypeError, ValueError):
        return datetime.datetime.fromisoformat(value).timestamp()


def differences(was, now, at=""):
    """What is not as it was. There may be more than there was; amounts and times may be rounded at another place."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key, value in was.items():
            yield from differences(value, now.get(key), f"{at}.{key}")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, (left, right) in enumerate(zip(was, now)):
            yield from differences(left, right, f"{at}[{index}]")
    elif None not in (quantity(was), quantity(now)):
        if abs(quantity(was) - quantity(now)) > 0.0011:
            yield f"{at} was {was} and is {now}"
    elif was != now:
        yield f"{at} was {was!r} and is {now!r}"


def same(what, was, now):
    found = list(differences(was, now))
    if found:
        raise Failure(f"{what}: " + "; ".join(found[:5]))


class Move:
    """A database, the old gateway and the new one, and who works with them."""

    def __init__(self, test, name, front=None):
        self.test, self.database = test, test.postgres.make(name)
        self.bearers, self.refreshes, self.paid = {}, {}, 0
        self.old, self.new = (
            Gateway(
                test.stand, command, test.provider, f"{name}-{who}", self.database, [anthropic(test.upstream.port)],
                {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
                admin=stand.admin(blocked_message="Ask the platform team."), managed={"policies": [
                    {"match": {}, "cli": {"availableModels": [stand.MODEL], "enforceAvailableModels": True}}]})
            for who, command in (("old", test.old), ("new", test.new)))
        if front:
            front.target, self.url = self.old.port, f"http://127.0.0.1:{front.port}"
            for gateway in (self.old, self.new):
                gateway.config["listen"]["public_url"] = self.url
                gateway.write(gateway.config)
        else:
            # The same file, the same address.
            self.new.command = [test.new, "gateway", "--config", self.old.config_path]
            self.url = self.new.url = self.old.url

    def sign_in(self, number):
        self.test.provider.count = number - 1
        answer = stand.sign_in(self.url)
        if answer.status != 200:
            raise Failure(f"nobody can sign in: {answer.status} {answer.body[:300]}")
        self.bearers[number], self.refreshes[number] = answer.json["access_token"], answer.json.get("refresh_token")

    def ask(self, number, url=None):
        body = {
            "model": stand.MODEL, "max_tokens": 9, "stream": True,
            "messages": [{"role": "user", "content": str(TOKENS)}],
        }
        answer = stand.send(
            (url or self.url) + "/v1/messages", "POST", body, stand.post_headers(self.bearers[number]))
        if answer.status == 200:
            if b"message_stop" not in answer.body:
                raise Failure(f"an answer has no end: {answer.body[-300:]}")
            self.paid += PRICE
            wait_until(lambda: self.booked() == self.paid, 10, "a message is not booked at its price")
        return answer

    def pay(self, number, times=1, url=None):
        for _ in range(times):
            answer = self.ask(number, url)
            if answer.status != 200:
                raise Failure(f"developer {number} gets {answer.status}: {answer.body[:300]}")

    def pay_all(self, number):
        """How many messages pass until one is refused, and how that is said."""
        count = 0
        while (answer := self.ask(number)).status == 200:
            count += 1
        if answer.status != 429:
            raise Failure(f"developer {number} gets {answer.status}: {answer.body[:300]}")
        said = {name: text for name, text in answer.headers.items() if name.startswith("anthropic-ratelimit-")}
        # Between the first and the last part the new one names the period, too.
        first, *_, last = answer.json["error"]["message"].split(" · ")
        return count, {**said, "error": [answer.json["error"]["type"], first, last]}

    def booked(self):
        return sum(amount for period, amount in self.counters()[0] if re.fullmatch(r"\d{4}-\d\d-\d\d", period))

    def counters(self):
        """By period, in billionths of a dollar: of developers, and of pools."""
        return [
            [(period, int(amount)) for period, amount in query(self.database, f"""
                SELECT period, round(cents::numeric * 10000000) FROM {table} ORDER BY {who}, period""")]
            for table, who in (("spend", "principal"), ("pooled_spend", "rbac_group_id"))]

    def set_limit(self, amount, period="monthly", **scope):
        more = {"pooled_budget": scope.pop("pool")} if "pool" in scope else {}
        answer = stand.send(
            self.url + LIMITS, "POST", {"scope": scope, "amount": str(amount), "period": period, **more},
            {"x-api-key": ADMIN_KEY, "content-type": "application/json"})
        if answer.status != 200:
            raise Failure(f"no limit: {answer.status} {answer.body[:300]}")

    def view(self, url=None):
        """What a gateway says about limits and spend."""

        def read(path, **headers):
            answer = stand.send((url or self.url) + path, headers=headers)
            if answer.status != 200:
                raise Failure(f"{path}: {answer.status} {answer.body[:300]}")
            return answer.json

        # The old one's word about one's own spend is up to 2 s old.
        time.sleep(2.1)
        key = {"x-api-key": ADMIN_KEY}
        own = {
            number: read("/api/oauth/usage", authorization="Bearer " + bearer)
            for number, bearer in self.bearers.items()}
        effective = read(f"{LIMITS}/effective?limit=1000", **key)["data"]
        # Here the new one shows pools too.
        for one in own.values():
            one["limits"] = [row for row in one["limits"] if row["kind"] == "spend"]
        for row in effective:
            row.pop("pooled_budgets", None)
        return {
            "limits": read(f"{LIMITS}?limit=1000", **key)["data"],
            "effective": effective,
            "audit": read(f"{LIMITS}/audit?limit=1000", **key)["data"],
            "own": own,
        }

    def live(self):
        """The time before: the first developer is below a limit, the second has none, the third is at it."""
        self.old.start()
        for number in 1, 2, 3:
            self.sign_in(number)
        self.set_limit(50_000, type="organization")
        self.set_limit(20_000, type="rbac_group", rbac_group_id="engineers", pool={"amount": "5000", "paused": False})
        for number in 1, 3:
            self.set_limit(DAILY, "daily", type="user", user_id=f"signed-in-{number}")
        self.pay(1, 3)
        self.pay(2, 2)
        count, self.refusal = self.pay_all(3)
        if count != 4:
            raise Failure(f"the old one lets {count} messages pass below {DAILY} cents")
        self.look()
        print(f"    the old one: {len(self.before['limits'])} limits, {self.paid / 1e9:.6f} dollars in "
              f"{len(self.counted[0])} counters of developers and {len(self.counted[1])} of pools")

    def look(self):
        self.before, self.counted = self.view(), self.counters()

    def is_taken_over(self, what, url=None):
        same(f"{what}: limits and spend", self.before, self.view(url))
        if self.counters() != self.counted:
            raise Failure(f"{what}: the counters were {self.counted} and are {self.counters()}")
        print(f"    {what}: limits, pool, audit, effective limits, everybody's own view: the same; counters: the same "
              "to the nano-dollar")

    def refuses(self, number, left):
        """After so many messages more, and as the old one refused the third developer."""
        count, refusal = self.pay_all(number)
        if count != left:
            raise Failure(f"{count} messages of developer {number} pass instead of {left}")
        same("the refusal", self.refusal, refusal)

    def goes_on(self):
        self.refuses(3, 0)
        self.refuses(1, 1)
        self.pay(2)
        print("    the old bearers count; who was refused is refused, with the same headers; who had one message left "
              "had one")

    def cli(self, *words):
        environment = {
            **self.new.environment, "CLAUDE_GATEWAY_ADMIN_KEY": ADMIN_KEY, "CLAUDE_GATEWAY_URL": self.url}
        return json.loads(output(self.test.new, *words, "--json", env=environment))


class Takeover:
    def __init__(self, where, old, new):
        self.stand, self.old, self.new = where, old, new
        self.postgres, self.provider, self.upstream = Postgres(where), IdentityProvider(where), Upstream(where)
        self.provider.prepare()
        self.page = page_blocks()

    def block(self, heading, words):
        """The block of the page's section that begins so."""
        found = [one for one in self.page[heading] if one.startswith(words)]
        if len(found) != 1:
            raise Failure(f"docs/migrating.md: {len(found)} blocks of '{heading}' begin with {words!r}")
        return found[0]

    def first_way(self):
        """One stops, the other starts on the same file and database. Then back, and here again."""
        move = Move(self, "first")
        move.live()
        dump = self.block("Before", "pg_dump").replace("before-the-move.dump", self.stand.path("dump"))
        output("sh", "-ec", dump, env={**os.environ, "GATEWAY_POSTGRES_URL": move.database})
        output(self.new, "config", "validate", "--strict", "--online", move.old.config_path, env=move.new.environment)
        self.hand_over(move, move.old, move.new, "the new one, on the same file")
        if "migration 1 (key-value) applied" not in move.new.log():
            raise Failure("the new one does not say that it migrates")
        monthly = [row for row in move.before["effective"] if row["period"] == "monthly"]
        for words, was in (
            (["list"], move.before["limits"]), (["effective", "--period", "monthly"], monthly),
            (["audit", "--limit", "5"], move.before["audit"][:5]),
        ):
            same(f"claude spend limits {words[0]}", was, move.cli("spend", "limits", *words))
        print("    claude spend limits list, effective, audit: the same")
        move.goes_on()
        self.refuses_refresh(move)
        query(move.database, self.block("Reports of the time before", "INSERT"))
        total = move.cli("spend", "--org", "--by", "day")["total"]["cost"]["amount"]
        if Decimal(total) * 10**7 != move.paid:
            raise Failure(f"claude spend --org says {total} cents, and {move.paid / 1e7} were spent")
        print(f"    claude spend --org, with the days before: {total} cents, which is all")
        self.hand_over(move, move.new, move.old, "the old one again", self.block("Going back", "BEGIN;\nALTER"))
        move.pay(2)
        self.hand_over(move, move.old, move.new, "the new one again", self.block("Going back", "BEGIN;\nUPDATE"))
        move.pay(2)
        move.new.stop()

    def second_way(self):
        """Both on one database for a while, behind something that sends requests to one or the other."""
        front = Pipe(self.stand, None)
        move = Move(self, "second", front)
        move.live()
        query(move.database, self.block("Second way: side by side", "BEGIN;\nCREATE"))
        move.new.start()
        move.is_taken_over("the new one, beside the old one", move.new.url)
        for number, gateway in ((2, move.old), (2, move.new), (1, move.new), (2, move.old)):
            move.pay(number, url=gateway.url)
        for gateway in (move.new, move.old):
            front.target = gateway.port
            move.set_limit(60_000 + gateway.port, type="organization")
            same("what both say", move.view(move.old.url), move.view(move.new.url))
        print("    messages at both, and a limit changed at each: both say the same, and the books have every message")
        front.target = move.new.port
        self.refuses_refresh(move)
        move.look()
        move.old.stop()
        query(move.database, self.block("Second way: side by side", "BEGIN;\nDROP"))
        move.is_taken_over("the new one alone, while it runs")
        move.refuses(3, 0)
        move.pay(2)
        move.new.stop()

    def third_way(self):
        """A new database, into which the tables are copied."""
        move = Move(self, "third")
        move.live()
        old, move.database = move.database, self.postgres.make("third-new")
        copy = self.block("Third way: a new database", "pg_dump").split("claude gateway")[0]
        move.old.stop()
        output("bash", "-euo", "pipefail", "-c", copy, env={
            **os.environ, "OLD_POSTGRES_URL": old, "GATEWAY_POSTGRES_URL": move.database})
        move.old.config["store"]["postgres_url"] = move.database
        move.old.write(move.old.config)
        move.new.start()
        move.is_taken_over("the new one, on a new database")
        move.goes_on()

    def hand_over(self, move, leaving, coming, what, sql=None):
        move.look()
        leaving.stop()
        if sql:
            query(move.database, sql)
        coming.start()
        move.is_taken_over(what)

    def refuses_refresh(self, move):
        form = urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": move.refreshes[2]})
        answer = stand.send(
            move.url + "/oauth/token", "POST", form, {"content-type": "application/x-www-form-urlencoded"})
        if (answer.status, answer.json) != (401, {"error": "invalid_grant"}):
            raise Failure(f"an old refresh token gets {answer.status} {answer.body[:200]}")
        move.sign_in(2)
        move.pay(2)
        print("    an old refresh token is refused; the developer signs in once more, and goes on")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="the existing gateway's program")
    parser.add_argument("new", help="this gateway's")
    arguments = parser.parse_args()
    with Stand("takeover") as where:
        test = Takeover(where, os.path.abspath(arguments.old), where.copy(arguments.new))
        for way in test.first_way, test.second_way, test.third_way:
            print(f"== {way.__name__.replace('_', ' ')}: {way.__doc__}", flush=True)
            way()


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"failed: {failure}")

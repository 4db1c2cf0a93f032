#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a listener makes of HTTP/1.1 that two readers might read differently: one row for each way to hide a request.

  http1_table.py PORT [PATTERN]

Each row sends its bytes over a connection of its own, with a request for /readyz behind them. The outcome is the list
of answers, and whether the connection ended. More answers than requests would mean that something was smuggled in.
Cases that Tests/GatewayIntegrationTests/RelayTests.swift has are not repeated.
"""
import re, socket, sys

PORT = int(sys.argv[1])
PATTERN = re.compile(sys.argv[2] if len(sys.argv) > 2 else "")
NEXT = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
HIDDEN = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = {"400, closed", "closed"}
# With Transfer-Encoding nothing is taken, and what follows it is not read either.
NO_CODING = REFUSED | {"411, closed", "501, closed"}
# The request is served, and so is the next.
SERVED = {"200, 200"}


def get(line="GET /healthz HTTP/1.1", host="Host: x\r\n", fields=""):
    return f"{line}\r\n{host}{fields}\r\n"


def post(fields, body="", path="/v1/messages"):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}"


CHUNKED = "0\r\n\r\n" + HIDDEN
ROWS = [
    # Lines
    ("9112 2.2", "an empty line before the request", SERVED, "\r\n" + get()),
    ("9112 2.2", "LF alone ends lines", SERVED | REFUSED, get().replace("\r\n", "\n")),
    ("9112 2.2", "CR alone in a field", REFUSED, get(fields="X: a\rb\r\n")),
    ("9112 2.2", "CR alone ends a line before a hidden field", REFUSED,
     post("X: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n", CHUNKED)),
    ("9112 2.2", "space before the first field", REFUSED, get(host=" Host: x\r\n")),
    ("9112 2.2", "a hidden field in a line that is skipped", REFUSED,
     "POST /v1/messages HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + CHUNKED),
    ("9112 2.3", "version 1.10", REFUSED | {"505, closed"}, get("GET /healthz HTTP/1.10")),
    ("9112 2.3", "version 9.9", REFUSED | {"505, closed"}, get("GET /healthz HTTP/9.9")),
    ("9112 2.3", "a version in small letters", REFUSED | {"505, closed"}, get("GET /healthz http/1.1")),
    ("9112 3", "no version", REFUSED | {"505, closed"}, get("GET /healthz")),
    ("9112 3", "two spaces before the target", REFUSED | SERVED, get("GET  /healthz HTTP/1.1")),
    ("9112 3", "a space after the version", REFUSED | SERVED, get("GET /healthz HTTP/1.1 ")),
    ("9112 3", "a tab for a space", REFUSED | SERVED, get("GET\t/healthz\tHTTP/1.1")),
    ("9112 3", "a space in the target", REFUSED, get("GET /heal thz HTTP/1.1")),
    ("9112 3", "NUL in the target", REFUSED, get("GET /heal\0thz HTTP/1.1")),
    ("9112 3", "CR in the target", REFUSED, get("GET /heal\rthz HTTP/1.1")),
    ("9112 3.1", "a method in small letters", REFUSED | {"405, 200", "404, 200", "401, 200", "501, closed"},
     get("get /healthz HTTP/1.1")),
    # Targets and hosts
    ("9112 3.2.2", "a target in absolute form", SERVED, get("GET http://x/healthz HTTP/1.1")),
    ("9112 3.2.2", "in absolute form with another host", SERVED | REFUSED, get("GET http://y/healthz HTTP/1.1")),
    ("9112 3.2.3", "CONNECT", REFUSED | {f"{status}, closed" for status in (401, 404, 405, 501)},
     get("CONNECT x:443 HTTP/1.1")),
    *(("9112 3.2", f"a host that is none: {host!r}", REFUSED, get(host=f"Host: {host}\r\n"))
      for host in ("a b", "a, b", "a/b", "a@b", "http://a", "a:b", "[::1", "a\tb")),
    # Fields
    ("9112 5.1", "no colon", REFUSED, get(fields="X\r\n")),
    ("9112 5.1", "no name", REFUSED, get(fields=": y\r\n")),
    ("9112 5.1", "space in a name", REFUSED, get(fields="X y: z\r\n")),
    ("9112 5.1", "space before the colon of Transfer-Encoding", REFUSED,
     post("Content-Length: 0\r\nTransfer-Encoding : chunked\r\n", CHUNKED)),
    ("9112 5.1", "tab before the colon of Content-Length", REFUSED,
     post(f"Content-Length\t: {len(HIDDEN)}\r\n", HIDDEN)),
    ("9112 5.2", "a folded field", SERVED | REFUSED, get(fields="X: a\r\n b\r\n")),
    ("9112 5.2", "Transfer-Encoding in a fold", NO_CODING,
     post("Content-Length: 0\r\nTransfer-Encoding:\r\n chunked\r\n", CHUNKED)),
    ("9112 5.2", "a fold that looks like Transfer-Encoding", REFUSED | {"401, 200"},
     post("Content-Length: 0\r\nX: a\r\n Transfer-Encoding: chunked\r\n")),
    ("9110 5.5", "NUL in a field", REFUSED, get(fields="X: a\0b\r\n")),
    ("9110 5.5", "an escape in a field", REFUSED | SERVED, get(fields="X: a\x1bb\r\n")),
    ("9110 5.5", "octets above 0x7f in a field", SERVED | REFUSED, get(fields="X: \xe4\xff\r\n")),
    ("9112 5", "fields without an end", REFUSED | {"431, closed"}, get(fields="X: y\r\n" * 40_000)),
    ("9112 5", "one field without an end", REFUSED | {"431, closed"}, get(fields="X: " + "y" * 300_000 + "\r\n")),
    # Transfer-Encoding
    *(("9112 6.1", f"Transfer-Encoding: {coding!r}{also}", NO_CODING,
       post(f"{fields}Transfer-Encoding: {coding}\r\n", CHUNKED))
      for coding in ("xchunked", "identity", "chunked, identity", "gzip, chunked", "Chunked", "\x0bchunked",
                     "chunked;a=b", "", '"chunked"')
      for also, fields in (("", ""), (" and Content-Length", "Content-Length: 0\r\n"))),
    ("9112 6.1", "Transfer-Encoding twice", NO_CODING,
     post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKED)),
    ("9112 6.1", "Transfer-Encoding alone", NO_CODING, post("Transfer-Encoding: chunked\r\n", CHUNKED)),
    ("9112 6.1", "Transfer-Encoding in HTTP/1.0", NO_CODING,
     "POST /v1/messages HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED),
    ("9112 6.1", "Transfer-Encoding of a GET", NO_CODING, get(fields="Transfer-Encoding: chunked\r\n") + CHUNKED),
    ("9112 6.1", "Transfer_Encoding is another field", {"401, 200"},
     post("Content-Length: 0\r\nTransfer_Encoding: chunked\r\n")),
    ("9112 7.1", "a chunk whose size is no number", NO_CODING,
     post("Transfer-Encoding: chunked\r\n", "zz\r\n\r\n" + HIDDEN)),
    # Content-Length
    *(("9112 6.3", f"Content-Length: {length!r}", REFUSED, post(f"Content-Length: {length}\r\n", HIDDEN))
      for length in (f"+{len(HIDDEN)}", hex(len(HIDDEN)), f"{len(HIDDEN)} {len(HIDDEN)}", f"{len(HIDDEN)};", "",
                     f"{len(HIDDEN)}, 0", f"{len(HIDDEN)}.0", str((1 << 64) + len(HIDDEN)), "1e2")),
    # A list of the same number may be taken for that number.
    *(("9112 6.3", f"{case}, equal", REFUSED | {"401, 200"}, post(fields, HIDDEN)) for case, fields in (
        ("Content-Length twice", f"Content-Length: {len(HIDDEN)}\r\n" * 2),
        ("Content-Length with a list", f"Content-Length: {len(HIDDEN)}, {len(HIDDEN)}\r\n"))),
    ("9112 6.3", "Content-Length with zeros before it", REFUSED | {"401, 200"},
     post(f"Content-Length: 000{len(HIDDEN)}\r\n", HIDDEN)),
    # Bodies that look like requests
    ("9112 6.2", "a body of a GET", SERVED, get(fields=f"Content-Length: {len(HIDDEN)}\r\n") + HIDDEN),
    ("9112 6.2", "a body that was refused before it came", {"401, 200"},
     post(f"Content-Length: {len(HIDDEN)}\r\n", HIDDEN)),
    ("9112 6.2", "a body of an unknown path", {"401, 200"},
     post(f"Content-Length: {len(HIDDEN)}\r\n", HIDDEN, "/nowhere")),
    ("9110 10.1.1", "a body that waits to be asked for, and comes all the same", {"401, 200"},
     post(f"Expect: 100-continue\r\nContent-Length: {len(HIDDEN)}\r\n", HIDDEN)),
    ("9112 6.3", "a HEAD, whose answer has no body", SERVED, get("HEAD /healthz HTTP/1.1")),
    ("9112 9.3", "two requests in one piece", {"200, 200, 200"}, get() + get()),
    ("9112 9.6", "what follows Connection: close is not read", {"200, closed"}, get(fields="Connection: close\r\n")),
    ("9112 9.3", "HTTP/1.0 closes", {"200, closed"}, get("GET /healthz HTTP/1.0")),
]


def outcome(bytes):
    """The statuses of all answers, and whether the connection ended after them."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
        try:
            connection.sendall(bytes)
        except OSError:
            pass
        answers, rest, ended = [], b"", False
        is_head = bytes.startswith(b"HEAD ")
        while True:
            head, separator, after = rest.partition(b"\r\n\r\n")
            if separator:
                length = re.search(rb"(?im)^content-length: *(\d+)\r?$", head)
                size = 0 if is_head and not answers else int(length[1]) if length else 0
                if len(after) >= size:
                    rest, status = after[size:], head.split()[1].decode()
                    if status != "100":
                        answers.append(status)
                    continue
            if ended:
                break
            # What has not come in this time does not come.
            connection.settimeout(0.7)
            try:
                data = connection.recv(65536)
            except TimeoutError:
                break
            except OSError:
                data = b""
            ended = not data
            rest += data
    return ", ".join(answers + ["closed"] * ended) or "silence"


def main():
    failed, count = [], 0
    print("section | case | outcome | ok")
    for section, case, accepted, text in ROWS:
        if not PATTERN.search(f"{section} {case}"):
            continue
        count += 1
        try:
            seen = outcome((text + NEXT).encode("latin-1"))
        except OSError as error:
            seen = f"{type(error).__name__}: {error}"
        verdict = "yes" if seen in accepted else "NO, expected " + " or ".join(sorted(accepted))
        if seen not in accepted:
            failed.append(f"{section} {case}: {seen}")
        print(f"{section} | {case} | {seen} | {verdict}", flush=True)
    if (after := outcome(get().encode())) != "200":
        failed.append(f"/healthz afterwards: {after}")
    print(f"{count} rows, {len(failed)} failed")
    if failed:
        sys.exit("\n".join(failed))


main()

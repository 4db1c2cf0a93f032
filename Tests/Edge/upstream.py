#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An identity provider as far as a start needs one, and an upstream that answers every message.

  upstream.py PORT

A request that says "slow" is answered after a moment, one that says "large" with 100,000 octets.
"""
import http.server, json, sys, time

port = int(sys.argv[1])
url = f"http://127.0.0.1:{port}"
discovery = {
    "issuer": url, "authorization_endpoint": url + "/authorize", "token_endpoint": url + "/token",
    "jwks_uri": url + "/keys", "response_types_supported": ["code"], "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
}
message = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go in one piece.
    wbufsize = -1

    def answer(self, value, size=0):
        body = json.dumps(value).encode().ljust(size)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(discovery if self.path.endswith("openid-configuration") else {"keys": []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if b'"slow"' in body:
            time.sleep(0.5)
        self.answer(message, 100_000 if b'"large"' in body else 0)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


Server(("127.0.0.1", port), Upstream).serve_forever()

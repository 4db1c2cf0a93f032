#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Second opinions for the tests: AWS's own signer and event-stream parser (botocore),
Google's assertions (google-auth).

  oracle.py sign < cases.json     one JSON list of {method, target, headers, body, keys, service, region, time};
                                  prints the list of Authorization headers
  oracle.py assertion < case.json a service account's assertion as google-auth reads it, and google-auth's own
  oracle.py frames SEED COUNT     prints a list of {bytes, messages}: random event streams in base64, with what botocore's
                                  parser reads from them
"""
import base64, binascii, datetime, json, random, struct, sys


def sign(cases):
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    out = []
    real = botocore.auth.get_current_datetime if hasattr(botocore.auth, "get_current_datetime") else None
    for case in cases:
        moment = datetime.datetime.strptime(case["time"], "%Y%m%dT%H%M%SZ")

        class Clock(datetime.datetime):
            @classmethod
            def utcnow(cls):
                return moment

            @classmethod
            def now(cls, tz=None):
                return moment.replace(tzinfo=tz) if tz else moment

        if real:
            botocore.auth.get_current_datetime = lambda remove_tzinfo=True: moment
        botocore.auth.datetime.datetime, saved = Clock, botocore.auth.datetime.datetime
        try:
            keys = Credentials(case["keys"]["id"], case["keys"]["secret"], case["keys"].get("token"))
            headers = dict(case["headers"])
            request = AWSRequest(
                method=case["method"], url="https://" + headers["host"] + case["target"], headers=headers,
                data=base64.b64decode(case["body"]))
            request.headers["X-Amz-Content-SHA256"] = __import__("hashlib").sha256(base64.b64decode(case["body"])).hexdigest()
            signer = botocore.auth.SigV4Auth(keys, case["service"], case["region"])
            signer.add_auth(request)
            out.append(request.headers["Authorization"])
        finally:
            botocore.auth.datetime.datetime = saved
    return out


def frame(headers, payload):
    block = b""
    for name, (kind, value) in headers.items():
        raw = name.encode()
        block += bytes([len(raw)]) + raw + bytes([kind])
        if kind in (6, 7):
            block += struct.pack(">H", len(value)) + value
        elif kind == 2:
            block += struct.pack(">b", value)
        elif kind == 3:
            block += struct.pack(">h", value)
        elif kind == 4:
            block += struct.pack(">i", value)
        elif kind in (5, 8):
            block += struct.pack(">q", value)
        elif kind == 9:
            block += value
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    message = prelude + struct.pack(">I", binascii.crc32(prelude)) + block + payload
    return message + struct.pack(">I", binascii.crc32(message))


def frames(seed, count):
    from botocore.eventstream import EventStreamBuffer

    rng = random.Random(seed)
    word = lambda n: bytes(rng.choice(b"abcdefghijklmnopqrstuvwxyz-:") for _ in range(n))
    out = []
    for _ in range(count):
        data = b""
        for _ in range(rng.randint(1, 5)):
            headers = {":message-type": (7, b"event"), ":event-type": (7, word(rng.randint(0, 12)))}
            for _ in range(rng.randint(0, 4)):
                kind = rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
                value = {2: rng.randint(-128, 127), 3: rng.randint(-9999, 9999), 4: rng.randint(-99999, 99999),
                         5: rng.randint(-2**60, 2**60), 8: rng.randint(0, 2**40), 9: rng.randbytes(16)}.get(kind, word(rng.randint(0, 30)))
                headers["x" + word(rng.randint(1, 20)).decode()] = (kind, value)
            data += frame(headers, rng.randbytes(rng.randint(0, 300)))
        parser = EventStreamBuffer()
        parser.add_data(data)
        messages = []
        for event in parser:
            texts = {k: v for k, v in event.headers.items() if isinstance(v, str)}
            messages.append({"headers": texts, "payload": base64.b64encode(event.payload).decode()})
        out.append({"bytes": base64.b64encode(data).decode(), "messages": messages})
    return out


def assertion(case):
    """Reads a service account's assertion with google-auth, and makes google-auth's own of the same account."""
    from google.auth import jwt
    from google.oauth2 import service_account

    theirs = service_account.Credentials.from_service_account_info(
        {**case["account"], "token_uri": case["token_uri"]}, scopes=[case["scope"]])._make_authorization_grant_assertion()
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(case["account"]["private_key"].encode(), None).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = jwt.decode(case["assertion"], certs=key, audience=case["token_uri"])
    return {"claims": claims, "theirs": jwt.decode(theirs, certs=key),
            "header": jwt.decode_header(case["assertion"]), "their_header": jwt.decode_header(theirs)}


if __name__ == "__main__":
    if sys.argv[1] == "assertion":
        print(json.dumps(assertion(json.load(sys.stdin))))
    elif sys.argv[1] == "sign":
        print(json.dumps(sign(json.load(sys.stdin))))
    else:
        print(json.dumps(frames(int(sys.argv[2]), int(sys.argv[3]))))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds testssl.sh's findings against what the listener promises: TLS 1.2 and 1.3, forward secrecy, AEAD only.

  tls_report.py FINDINGS.json
"""
import json, re, sys

findings = {}
for entry in json.load(open(sys.argv[1])):
    findings.setdefault(entry["id"], []).append(entry)
faults = []


def expect(id, pattern):
    entries = findings.get(id, [])
    if not entries:
        faults.append(f"{id}: testssl.sh says nothing of it")
    for entry in entries:
        if not re.search(pattern, entry["finding"]):
            faults.append(f"{id}: {entry['severity']}: {entry['finding']}, expected {pattern}")


for id in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
    expect(id, "^not offered")
for id in ("TLS1_2", "TLS1_3"):
    expect(id, "^offered")
for id in ("NULL", "aNULL", "EXPORT", "LOW", "3DES_IDEA", "AVERAGE"):
    expect("cipherlist_" + id, "^not offered")
expect("cipherlist_STRONG", "^offered")
expect("PFS", "^offered")
expect("ALPN_HTTP2", "^h2$")
expect("ALPN", r"http/1\.1")

weaknesses = [
    "heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "BREACH",
    "POODLE_SSL", "fallback_SCSV", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4",
]
for id in weaknesses:
    if id not in findings:
        faults.append(f"{id}: testssl.sh says nothing of it")
# Whatever else it finds fault with: what it says of the client's own OpenSSL apart.
for id, entries in findings.items():
    if id == "engine_problem":
        continue
    for entry in entries:
        if entry["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"):
            faults.append(f"{id}: {entry['severity']}: {entry['finding']}")

suites = sorted({name for id, entries in findings.items() for name in re.findall(
    r"\b(?:TLS_[A-Z0-9_]+|(?:EC)?DHE-[A-Z0-9-]+|AES(?:128|256)-[A-Z0-9-]+)", " ".join(e["finding"] for e in entries))})
print(f"{len(findings)} findings; suites: {' '.join(suites)}")
if faults:
    sys.exit("\n".join(dict.fromkeys(faults)))

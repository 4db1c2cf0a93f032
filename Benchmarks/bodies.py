# SPDX-License-Identifier: Apache-2.0
"""What clients send and what providers answer, in the shapes and sizes of real ones."""
import base64
import json
import struct
import zlib

from stand import MODEL

ANSWER = json.dumps({
    "id": "msg_01", "type": "message", "role": "assistant", "model": MODEL,
    "content": [{"type": "text", "text": "Hello, how can I help?"}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {
        "input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 9,
    },
}, separators=(",", ":"))
# 3 and 15 dollars a million tokens, in billionths of a dollar.
ANSWER_NANODOLLARS = 12 * 3000 + 9 * 15000


def small(stream=False):
    """0.1 kB."""
    body = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}
    return json.dumps({**body, "stream": True} if stream else body)


def large(size=130_000):
    """What a coding client sends: instructions, two dozen tools, and a conversation with escapes in it."""
    word = "The file begins with a comment that says what it is for.\n\tif (value != \"none\") { return \u00e9; }\n"
    tools = [{
        "name": f"tool_{index}", "description": f"Tool number {index}. " + word * 8,
        "input_schema": {
            "type": "object", "additionalProperties": False, "required": ["path"], "properties": {
                "path": {"type": "string", "description": "An absolute path, such as \"/src/main.c\"."},
                "limit": {"type": "integer", "description": "How many lines to read at most."},
            },
        },
    } for index in range(24)]
    body = {
        "model": MODEL, "max_tokens": 32000,
        "system": [{"type": "text", "text": word * 100, "cache_control": {"type": "ephemeral"}}], "tools": tools,
        "metadata": {"user_id": "user_0123456789abcdef"}, "messages": [],
    }
    while len(json.dumps(body)) < size:
        turn = len(body["messages"])
        if turn % 2 == 0:
            content = [{"type": "text", "text": f"Turn {turn}. " + word * 6}]
        else:
            content = [
                {"type": "text", "text": word},
                {"type": "tool_use", "id": f"toolu_{turn}", "name": "tool_3", "input": {"path": f"/src/{turn}.c"}},
            ]
        body["messages"].append({"role": "assistant" if turn % 2 else "user", "content": content})
    if len(body["messages"]) % 2 == 0:
        body["messages"].append({"role": "user", "content": "Go on."})
    return json.dumps(body)


def stream_events(deltas, text="a few words more"):
    """The events of one streamed answer."""
    usage = {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    message = {
        "id": "msg_01", "type": "message", "role": "assistant", "model": MODEL, "content": [], "stop_reason": None,
        "usage": usage,
    }
    yield {"type": "message_start", "message": message}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for index in range(deltas):
        delta = {"type": "text_delta", "text": f" {text} {index}"}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": deltas}}
    yield {"type": "message_stop"}


def frame(payload, headers):
    """One message of application/vnd.amazon.eventstream: lengths, their CRC, headers, payload, CRC of all."""
    coded = b"".join(
        struct.pack(">B", len(name)) + name.encode() + b"\7" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers)
    prelude = struct.pack(">II", 16 + len(coded) + len(payload), len(coded))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + coded + payload
    return message + struct.pack(">I", zlib.crc32(message))


def bedrock_stream(size):
    """A streamed answer as Amazon Bedrock sends it, of about so many bytes, and the number of its events."""
    padding = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")]

    def wrap(number, event):
        text = json.dumps(event, separators=(",", ":")).encode()
        payload = {"bytes": base64.b64encode(text).decode(), "p": padding[:number * 7 % len(padding)]}
        return frame(json.dumps(payload, separators=(",", ":")).encode(), headers)

    one = len(wrap(3, {
        "type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": " a few words more 1000"},
    }))
    frames = [wrap(number, event) for number, event in enumerate(stream_events(max(1, size // one)))]
    return b"".join(frames), len(frames)

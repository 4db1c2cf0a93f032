#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Anthropic's own SDK as a client.

  sdk.py native PROVIDER BASE_URL MODEL   runs the scenario with the client that the SDK has for that provider
  sdk.py gateway BASE_URL TOKEN MODEL     runs it with the plain client, through a gateway

prints what a developer's program gets to see, as JSON. In the scenario the last text says what the upstream is to do.
"""
import json, sys

import anthropic

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {"name": "weather", "description": "The weather.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}


def client(arguments):
    if arguments[0] == "gateway":
        return anthropic.Anthropic(base_url=arguments[1], auth_token=arguments[2], api_key=None, max_retries=0)
    provider, url = arguments[1:3]
    none = {"base_url": url, "max_retries": 0}
    return {
        "anthropic": lambda: anthropic.Anthropic(api_key="key", **none),
        "anthropicAws": lambda: anthropic.AnthropicAWS(api_key="key", aws_region="us-east-1", workspace_id="ws", **none),
        "anthropicGoogleCloud": lambda: anthropic.Anthropic(auth_token="token", **none),
        "bedrock": lambda: anthropic.AnthropicBedrock(api_key="token", aws_region="us-east-1", **none),
        "mantle": lambda: anthropic.AnthropicBedrockMantle(api_key="token", aws_region="us-east-1", **none),
        "vertex": lambda: anthropic.AnthropicVertex(access_token="token", region="global", project_id="p", **none),
        "foundry": lambda: anthropic.AnthropicFoundry(api_key="key", **none),
    }[provider]()


def plain(value):
    """What the developer's program sees, without what only the transport knows."""
    return json.loads(value.model_dump_json(exclude_none=True))


def ask(say):
    return {"max_tokens": 64, "messages": [{"role": "user", "content": say}]}


def main(arguments):
    model = arguments[-1]
    messages = client(arguments).messages
    out = {}
    out["text"] = plain(messages.create(model=model, extra_body={"temperature": 1}, metadata={"user_id": "ü"}, **ask("text")))
    out["image"] = plain(messages.create(
        model=model, max_tokens=4096, system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        thinking={"type": "enabled", "budget_tokens": 1024}, extra_headers={"anthropic-beta": "b-1,b-2"},
        extra_body={"unknown_field": {"deep": [1.0, "é", 12345678901234567890]}},
        messages=[{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "text", "text": "text"}]}]))
    out["tools"] = plain(messages.create(model=model, tools=[TOOL], tool_choice={"type": "any"}, **ask("tools")))
    with messages.stream(model=model, **ask("text")) as stream:
        out["stream"] = [event.type for event in stream]
        out["stream_message"] = plain(stream.get_final_message())
    with messages.stream(model=model, tools=[TOOL], **ask("tools")) as stream:
        out["stream_tools"] = plain(stream.get_final_message())
    out["errors"] = []
    for status in (400, 404, 413, 429, 529):
        for streams in (False, True):
            try:
                answer = messages.create(model=model, stream=streams, **ask(f"status {status}"))
                for _ in answer:
                    pass
                out["errors"].append(None)
            except anthropic.APIStatusError as error:
                kind = (error.body or {}).get("error", {}).get("type") if isinstance(error.body, dict) else None
                out["errors"].append([error.status_code, kind, error.response.headers.get("retry-after")])
    try:
        for _ in messages.create(model=model, stream=True, **ask("break")):
            pass
        out["broken"] = None
    except Exception as error:
        out["broken"] = type(error).__name__
    stream = messages.create(model=model, stream=True, **ask("endless"))
    next(iter(stream))
    stream.close()
    try:
        counted = messages.count_tokens(model=model, messages=ask("text")["messages"])
        out["count"] = counted.input_tokens
    except anthropic.AnthropicError as error:
        out["count"] = type(error).__name__
    json.dump(out, sys.stdout)


main(sys.argv[1:])

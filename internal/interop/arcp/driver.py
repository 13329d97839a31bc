"""Drives the published ARCP client, unchanged, as told on standard input.

Each line of input is a JSON object, each gets one line of JSON output:

    {"client": NAME, "base": URL, "call": "register_agent", "args": {...}}

"client" keeps one ARCPClient alive between lines. "call" is a method of it, or
"module.NAME" for a function of the client's module. A method that streams gives
{"value": "stream"}; then {"client": NAME, "next": "websocket_public"} gives the
next message of it and {"client": NAME, "end": "websocket_public"} ends it, or the
task that a method started. {"methods": true} gives the names of all public methods.

Answers are {"value": ...} or {"error": {"class": ..., "bases": ..., "text": ...}},
each with "printed", what the client printed to standard output.
"""

import asyncio
import contextlib
import dataclasses
import inspect
import io
import json
import sys

import arcp
import arcp.client
import pydantic

clients = {}
running = {}  # streams and tasks by client and method


def plain(value):
    """The value as JSON can show it."""
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


def describe(failure):
    """What a caller can see of an exception."""
    return {
        "class": type(failure).__name__,
        "bases": [c.__name__ for c in type(failure).__mro__],
        "text": str(failure),
    }


async def call(order):
    """Makes one call."""
    name, args = order["call"], order.get("args", {})
    if name.startswith("module."):
        return await getattr(arcp.client, name.removeprefix("module."))(**args)
    if order["client"] not in clients:
        clients[order["client"]] = arcp.ARCPClient(order["base"], **order.get("options", {}))
    value = getattr(clients[order["client"]], name)(**args)
    if inspect.isasyncgen(value):
        running[order["client"], name] = value
        return "stream"
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, asyncio.Task):
        running[order["client"], name] = value
        return "task"
    return value


async def end(what):
    """Ends a stream or a task."""
    if inspect.isasyncgen(what):
        return await what.aclose()
    what.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await what


def public_methods():
    """The names of what the client offers."""
    members = inspect.getmembers(arcp.ARCPClient, inspect.isfunction)
    return [name for name, _ in members if not name.startswith("_")]


async def obey(order):
    """Does one order and reports what came of it."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            if "methods" in order:
                value = public_methods()
            elif "next" in order:
                stream = running[order["client"], order["next"]]
                value = await asyncio.wait_for(anext(stream), 20)
            elif "end" in order:
                value = await end(running.pop((order["client"], order["end"])))
            else:
                value = await call(order)
        return {"value": plain(value), "printed": printed.getvalue()}
    except Exception as failure:  # every class is an observation
        return {"error": describe(failure), "printed": printed.getvalue()}


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        answer = json.dumps(await obey(json.loads(line)))
        print(answer, flush=True)
    for what in running.values():
        await end(what)
    for client in clients.values():
        await client.close()


asyncio.run(main())

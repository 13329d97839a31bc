"""Drives the published ARC client, unchanged, as told on standard input.

Each line of input is a JSON object, each gets one line of JSON output:

    {"endpoint": ..., "token": ..., "agent": ..., "session": ...,
     "call": "task.create", "args": {...}}

"call" is a path from the client object ("task.create", "chat.message") or one
of the ThreadManager ("threads.send_to_agent"). "session" keeps one client and
its ThreadManager alive between lines. Answers are {"value": ...},
{"events": [...]} for streams (with "error" if the stream raised), or
{"error": {"class": ..., "text": ..., "code": ..., "details": ..., "data": ...}}.
"""

import asyncio
import json
import sys

import arc

sessions = {}


def session(order):
    """The client and thread manager that the order names, made on first use."""
    key = order.get("session") or json.dumps(
        [order["endpoint"], order.get("token"), order.get("agent")]
    )
    if key not in sessions:
        client = arc.Client(
            order["endpoint"],
            token=order.get("token"),
            request_agent=order.get("agent"),
            timeout=order.get("timeout", 20.0),
        )
        sessions[key] = (client, arc.ThreadManager(client))
    return sessions[key]


def describe(failure):
    """What a caller can see of an exception."""
    return {
        "class": type(failure).__name__,
        "bases": [c.__name__ for c in type(failure).__mro__],
        "text": str(failure),
        "code": getattr(failure, "code", None),
        "details": getattr(failure, "details", None),
        "data": getattr(failure, "data", None),
    }


async def obey(order):
    """Makes one call and reports what came of it."""
    client, threads = session(order)
    target = client
    for name in order["call"].split("."):
        target = threads if name == "threads" else getattr(target, name)
    events = None
    try:
        value = target(**order.get("args", {}))
        if asyncio.iscoroutine(value):
            value = await value
        if hasattr(value, "__aiter__"):
            events = []
            async for event in value:
                events.append(event)
            return {"events": events}
        return {"value": value}
    except Exception as failure:  # every class is an observation
        report = {"error": describe(failure)}
        if events is not None:
            report["events"] = events
        return report


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await obey(json.loads(line))), flush=True)
    for client, _ in sessions.values():
        await client.close()


asyncio.run(main())

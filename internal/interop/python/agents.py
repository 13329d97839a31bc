"""Two agents behind the published ARC server, unchanged, as somebody writes them
with its documentation. Nothing here knows of arcd.

    python agents.py PORT [STATE-FILE]

worker   takes a task and answers at once that it is WORKING. What the message says
         decides how it goes on: "ask" wants input, "fail" fails, "wait" ends only
         when it is canceled or told to "finish", "slow" takes a second; any other
         text is done at once and becomes an artifact. With a STATE-FILE its tasks
         outlive the process.
writer   answers chats word by word, or in one piece where no stream is asked for.

Every call is written to standard output as a line of JSON.
"""

import asyncio
import json
import sys
import time
import uuid

from arc.exceptions import ChatNotFoundError, TaskNotFoundError
from arc.server import ARCServer
from arc.server.sse import SSEResponse

state_file = sys.argv[2] if len(sys.argv) > 2 else None
server = ARCServer(server_id="python-agents", enable_logging=False)
tasks = {}
chats = {}


def load():
    if state_file:
        try:
            with open(state_file, encoding="utf-8") as f:
                tasks.update(json.load(f))
        except FileNotFoundError:
            pass


def save():
    if state_file:
        with open(state_file, "w", encoding="utf-8") as f:
            json.dump(tasks, f)


def note(params, context):
    seen = context["http_request"].headers
    print(json.dumps({
        "method": context["method"], "agent": context["target_agent"], "from": context["request_agent"],
        "trace": context["trace_id"], "traceparent": seen.get("traceparent"), "params": params,
        "authorization": seen.get("authorization"),
    }), flush=True)


def stamp():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def text(message):
    return " ".join(str(p.get("content", "")) for p in message["parts"])


def says(words):
    return {"role": "agent", "parts": [{"type": "TextPart", "content": words}], "timestamp": stamp()}


def found(params):
    task = tasks.get(params["taskId"])
    if task is None:
        raise TaskNotFoundError(params["taskId"])
    if task["status"] == "WORKING" and task.get("due") and time.time() >= task["due"]:
        complete(task, text(task["messages"][0]))
    return task


def complete(task, words):
    task["status"] = "COMPLETED"
    task["artifacts"].append({
        "artifactId": "out-" + task["taskId"], "name": "result", "createdAt": stamp(),
        "parts": [{"type": "TextPart", "content": words}],
    })
    save()


def shown(task):
    return {"type": "task", "task": {k: v for k, v in task.items() if k != "due"}}


@server.agent_handler("worker", "task.create")
async def create(params, context):
    note(params, context)
    words = text(params["initialMessage"])
    task = {
        "taskId": "py-" + uuid.uuid4().hex[:12], "status": "WORKING", "createdAt": stamp(),
        "messages": [params["initialMessage"]], "artifacts": [],
    }
    if words == "slow":
        task["due"] = time.time() + 1
    elif words == "ask":
        task["status"] = "INPUT_REQUIRED"
        task["messages"].append(says("Which colour?"))
    elif words == "fail":
        task["status"] = "FAILED"
        task["reason"] = "no luck"
    elif words != "wait":
        complete(task, words)
    tasks[task["taskId"]] = task
    save()
    return shown(task)


@server.agent_handler("worker", "task.info")
async def info(params, context):
    note(params, context)
    return shown(found(params))


@server.agent_handler("worker", "task.send")
async def send(params, context):
    note(params, context)
    task = found(params)
    task["messages"].append(params["message"])
    words = text(params["message"])
    if task["status"] == "INPUT_REQUIRED" or words == "finish":
        complete(task, words)
    save()
    return {"success": True}


@server.agent_handler("worker", "task.cancel")
async def cancel(params, context):
    note(params, context)
    task = found(params)
    task["status"] = "CANCELED"
    save()
    return shown(task)


async def words_of(chat_id, words):
    for word in words.split():
        yield {"event": "stream", "data": {"chatId": chat_id, "message": {"role": "agent", "parts": [{"type": "TextPart", "content": word + " "}]}}}
        await asyncio.sleep(0.01)
    yield {"event": "done", "data": {"chatId": chat_id, "status": "ACTIVE", "done": True}}


def answer(chat_id, message, params):
    words = f"you said {text(message)}"
    if params.get("stream"):
        return SSEResponse(words_of(chat_id, words))
    return {"type": "chat", "chat": {"chatId": chat_id, "status": "ACTIVE", "message": says(words)}}


@server.agent_handler("writer", "chat.start")
async def start(params, context):
    note(params, context)
    chat_id = "pychat-" + uuid.uuid4().hex[:12]
    chats[chat_id] = 1
    return answer(chat_id, params["initialMessage"], params)


@server.agent_handler("writer", "chat.message")
async def message(params, context):
    note(params, context)
    if params["chatId"] not in chats:
        raise ChatNotFoundError(params["chatId"])
    chats[params["chatId"]] += 1
    return answer(params["chatId"], params["message"], params)


@server.agent_handler("writer", "chat.end")
async def end(params, context):
    note(params, context)
    chats.pop(params["chatId"], None)
    return {"type": "chat", "chat": {"chatId": params["chatId"], "status": "CLOSED"}}


load()
server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")

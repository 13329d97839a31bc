"""An agent behind the published ARC server, for the comparison of "make bench-peers".

    python arcserver.py PORT [ISSUER AUDIENCE]

It keeps its tasks in a dict, as the package's examples do. With ISSUER the server
has the package's middleware check tokens; the keys are at ISSUER/keys. What
a message says decides what the agent does: "wait" leaves a task SUBMITTED, any other
text completes it at once.
"""

import logging
import sys
import time
import uuid

import jwt
from arc.exceptions import TaskNotFoundError
from arc.server import ARCServer
from arc.server.sse import SSEResponse

CHUNKS = 20

logging.disable(logging.WARNING)
server = ARCServer(server_id="peer", enable_logging=False)
tasks = {}


def stamp():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def text(message):
    return " ".join(str(p.get("content", "")) for p in message["parts"])


def says(words):
    return {"role": "agent", "parts": [{"type": "TextPart", "content": words}], "timestamp": stamp()}


def shown(task):
    return {"type": "task", "task": task}


@server.agent_handler("worker", "task.create")
async def create(params, context):
    task = {
        "taskId": "py-" + uuid.uuid4().hex, "status": "SUBMITTED", "createdAt": stamp(),
        "messages": [params["initialMessage"]], "artifacts": [],
    }
    words = text(params["initialMessage"])
    if words != "wait":
        task["status"] = "COMPLETED"
        task["artifacts"].append({
            "artifactId": "out-" + task["taskId"], "name": "result", "createdAt": stamp(),
            "parts": [{"type": "TextPart", "content": words}],
        })
    tasks[task["taskId"]] = task
    return shown(task)


@server.agent_handler("worker", "task.info")
async def info(params, context):
    task = tasks.get(params["taskId"])
    if task is None:
        raise TaskNotFoundError(params["taskId"])
    return shown(task)


async def pieces(chat_id):
    for n in range(CHUNKS):
        yield {"event": "stream", "data": {"chatId": chat_id, "message": says(f"piece {n + 1} ")}}
    yield {"event": "done", "data": {"chatId": chat_id, "status": "ACTIVE", "done": True}}


@server.agent_handler("worker", "chat.start")
async def start(params, context):
    chat_id = "pychat-" + uuid.uuid4().hex
    if params.get("stream"):
        return SSEResponse(pieces(chat_id))
    return {"type": "chat", "chat": {"chatId": chat_id, "status": "ACTIVE", "message": says(text(params["initialMessage"]))}}


class Validator:
    """Does what the package's JWTValidator does. That one cannot be made: it passes an
    argument to PyJWKClient that no PyJWKClient has."""

    def __init__(self, issuer, audience):
        self.issuer, self.audience = issuer, audience
        self.keys = jwt.PyJWKClient(issuer + "/keys")

    async def validate_token(self, token):
        key = self.keys.get_signing_key_from_jwt(token).key
        return jwt.decode(
            token, key, algorithms=["RS256"], audience=self.audience, issuer=self.issuer,
            options={"require": ["exp", "iat", "iss", "aud"]},
        )


if len(sys.argv) > 2:
    server.use_jwt_validator(Validator(*sys.argv[2:4]))

server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)

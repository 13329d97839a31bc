"""An agent behind the Python SDK of A2A, for the comparison of "make bench-peers".

    python a2asdk.py PORT [DATABASE-URL]

It keeps its tasks in memory, or with a URL in a database, by the SDK's own stores.
What a message says decides what the agent does: "wait" leaves a task SUBMITTED,
"talk" is answered with a message, "story" with an artifact in twenty pieces, any
other text completes a task at once.
"""

import logging
import sys

import uvicorn
from starlette.applications import Starlette

from a2a.helpers.proto_helpers import get_message_text, new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard

CHUNKS = 20


class Worker(AgentExecutor):
    async def execute(self, context, event_queue):
        words = get_message_text(context.message)
        if words == "talk":
            await event_queue.enqueue_event(new_text_message(words))
            return
        task = new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        if words == "wait":
            return
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        if words == "story":
            for n in range(CHUNKS):
                await updater.add_artifact([new_text_part(f"piece {n + 1} ")], artifact_id="story", append=n > 0, last_chunk=n == CHUNKS - 1)
        else:
            await updater.add_artifact([new_text_part(words)], name="result")
        await updater.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def store():
    if len(sys.argv) < 3:
        return InMemoryTaskStore()
    from a2a.server.tasks import DatabaseTaskStore
    from sqlalchemy.ext.asyncio import create_async_engine

    url = sys.argv[2]
    # SQLite has one writer; with sqlite3's own 5 seconds of patience some calls fail.
    patience = {"timeout": 60} if url.startswith("sqlite") else {}
    return DatabaseTaskStore(create_async_engine(url, connect_args=patience))


logging.disable(logging.WARNING)
card = AgentCard(name="peer", description="An agent to compare with", version="1", capabilities=AgentCapabilities(streaming=True))
handler = DefaultRequestHandler(agent_executor=Worker(), task_store=store(), agent_card=card)
app = Starlette(routes=create_jsonrpc_routes(handler, "/"))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)

"""A FastAPI application behind Mangum, whose endpoints await the cache."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from fastapi import FastAPI, Response
from mangum import Mangum

import s3warm

app = FastAPI()


@app.get("/one/{key}")
async def one(key: str) -> Response:
    try:
        entry = await s3warm.aio.entry("bucket", key)
    except s3warm.OriginUnavailableError as error:
        return Response(str(error), status_code=503)
    return Response(entry.body, headers={"x-stale": str(entry.stale)})


@app.get("/two/{key}")
async def two(key: str) -> dict[str, Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(s3warm.aio.get("bucket", key)) for _ in range(2)]
    first, second = (task.result() for task in tasks)
    return {"same": first is second, "body": first.decode()}


_answer = Mangum(app, lifespan="off")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    with s3warm.deadline(context):
        answer = dict(_answer(event, context))
    left = [thread for thread in threading.enumerate() if thread.name.startswith("s3warm")]
    for thread in left:  # it may just be ending
        thread.join(5)
    answer["threads"] = [thread.name for thread in left if thread.is_alive()]
    return answer

"""A WebSocket server that says everything back."""

import asyncio
import http
import sys

from websockets.asyncio.server import serve


async def converse(connection):
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as you like")
        elif message == "push":
            for at in range(100):
                await connection.send(f"pushed {at}")
        else:
            await connection.send(message)


def admit(connection, request):
    if request.path == "/forbidden":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not you\n")
    return None


def choose(connection, offered):
    return "second" if "second" in offered else None


async def main():
    async with serve(
        converse, "0.0.0.0", int(sys.argv[1]), process_request=admit,
        select_subprotocol=choose, max_size=None,
    ):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())

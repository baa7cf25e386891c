"""Talks to a WebSocket server, and prints what came of it."""

import asyncio
import sys

import websockets
from websockets.asyncio.client import connect

BASE = f"ws://{sys.argv[1]}:8080"


def open_to(path, **options):
    return connect(BASE + path, max_size=None, open_timeout=10, proxy=None, **options)


async def echo():
    for compression in ["deflate", None]:
        async with open_to("/", compression=compression) as connection:
            for message in ["text", "", "ünïcödé", b"\x00\xffbinary", b"", "y" * 100_000]:
                await connection.send(message)
                print((await connection.recv()) == message)
            await connection.send(iter(["in ", "several ", "frames"]))
            print(await connection.recv())


async def large():
    async with open_to("/", compression=None) as connection:
        message = bytes(range(256)) * 16_384
        await connection.send(message)
        print((await connection.recv()) == message)


async def ping():
    async with open_to("/") as connection:
        for payload in [b"", b"payload", b"x" * 125]:
            pong = await connection.ping(payload)
            print(await pong >= 0)


async def closing():
    async with open_to("/") as connection:
        await connection.send("close")
        try:
            await connection.recv()
        except websockets.ConnectionClosed as closed:
            print(closed)
    connection = await open_to("/")
    await connection.close(1001, "going away")
    print(connection.close_code, connection.close_reason)


async def subprotocol():
    async with open_to("/path?query=1", subprotocols=["second"]) as connection:
        print(connection.subprotocol, sorted(connection.response.headers.keys()))


async def refused():
    try:
        await open_to("/forbidden")
    except websockets.InvalidStatus as refusal:
        print(refusal.response.status_code, bytes(refusal.response.body))


async def pushed():
    async with open_to("/") as connection:
        await connection.send("push")
        print([await connection.recv() for _ in range(100)])


async def many():
    async def one(number):
        async with open_to("/") as connection:
            await connection.send(f"{number}")
            return await connection.recv()

    print(await asyncio.gather(*[one(number) for number in range(30)]))


asyncio.run(asyncio.wait_for(globals()[sys.argv[2]](), timeout=20))

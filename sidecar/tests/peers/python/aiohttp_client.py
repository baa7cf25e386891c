"""Makes requests over aiohttp's pool of connections, and prints what came of them."""

import asyncio
import sys

import aiohttp

BASE = f"http://{sys.argv[1]}:8080"


async def pooled(session):
    async def one(number):
        async with session.get(f"{BASE}/number/{number}?q={number}") as response:
            return response.status, await response.json()

    print(await asyncio.gather(*[one(number) for number in range(100)]))


async def methods(session):
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]:
        async with session.request(method, f"{BASE}/a", data=b"body\x00\xff") as response:
            print(response.status, response.reason, await response.json())
    async with session.head(f"{BASE}/a") as response:
        print(response.status, response.headers["Content-Type"], await response.read())


async def streams(session):
    async with session.get(f"{BASE}/stream") as response:
        print(response.headers["x-kind"], await response.read())

    async def parts():
        for _ in range(300):
            yield b"z" * 10_000

    async with session.post(f"{BASE}/upload", data=parts()) as response:
        print(await response.text())
    async with session.get(f"{BASE}/compressed") as response:
        print(len(await response.text()), response.headers["Content-Encoding"])


async def conversation(session):
    """Both bodies at once: each line is sent when the one before was answered."""
    answered = asyncio.Semaphore(1)

    async def lines():
        for at in range(10):
            await answered.acquire()
            yield b"line %d\n" % at

    async with session.post(f"{BASE}/conversation", data=lines()) as response:
        async for line in response.content:
            print(line)
            answered.release()


async def broken(session):
    try:
        async with session.get(f"{BASE}/breaks") as response:
            print(response.status)
            await response.read()
            print("whole")
    except aiohttp.ClientPayloadError as error:
        print(type(error).__name__)
    async with session.get(f"{BASE}/after") as response:
        print(response.status)


async def headers(session):
    sent = [("X-Twice", "one"), ("X-Twice", "two"), ("x-lower", "a"), ("Cookie", "k=v; l=w"),
            ("X-Forwarded-For", "1.2.3.4"), ("Accept", "a/b")]
    async with session.get(f"{BASE}/headers", headers=sent) as response:
        print(await response.json())


async def main():
    connector = aiohttp.TCPConnector(limit=4)
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await globals()[sys.argv[2]](session)


asyncio.run(main())

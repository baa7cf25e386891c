"""An aiohttp server that says back what it was asked."""

import asyncio
import sys

from aiohttp import web

OWN = {"host", "user-agent", "content-length", "transfer-encoding", "connection"}


async def echo(request):
    body = await request.read()
    headers = sorted((key, value) for key, value in request.headers.items()
                     if key.lower() not in OWN)
    return web.json_response({
        "method": request.method, "path": request.raw_path, "headers": headers,
        "body": body.decode("latin-1"),
    })


async def stream(request):
    response = web.StreamResponse(headers={"x-kind": "stream"})
    await response.prepare(request)
    for at in range(50):
        await response.write(b"line %d\n" % at)
        await asyncio.sleep(0)
    await response.write_eof()
    return response


async def slowly_read(request):
    """Takes an upload as it comes, and says how much it was."""
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    return web.Response(text=str(size))


async def compressed(request):
    response = web.Response(text="much the same " * 1000)
    response.enable_compression()
    return response


async def breaks(request):
    response = web.StreamResponse()
    response.content_length = 1000
    await response.prepare(request)
    await response.write(b"not all")
    request.transport.close()
    return response


async def conversation(request):
    """Answers each line of a body before the next one comes."""
    response = web.StreamResponse()
    await response.prepare(request)
    async for line in request.content:
        await response.write(b"heard " + line)
    return response


app = web.Application(client_max_size=1 << 26)
app.router.add_route("*", "/stream", stream)
app.router.add_route("*", "/upload", slowly_read)
app.router.add_route("*", "/compressed", compressed)
app.router.add_route("*", "/breaks", breaks)
app.router.add_route("*", "/conversation", conversation)
app.router.add_route("*", "/{path:.*}", echo)
web.run_app(app, host="0.0.0.0", port=int(sys.argv[1]), print=None)

"""A gRPC server whose messages are plain bytes."""

import sys
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

begun = threading.Semaphore(0)
cancelled = threading.Semaphore(0)


def unary(request, context):
    return request[::-1]


def metadata(request, context):
    """Says what metadata came, and sends some of its own."""
    context.send_initial_metadata((("x-initial", "first"), ("x-initial-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-trailing", "last"), ("x-trailing-bin", b"\x01\xfe")))
    came = sorted((key, value) for key, value in context.invocation_metadata())
    return repr(came).encode()


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nicht möglich: 100 % \n sure")


def fails_late(request, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "lost the third")


def hang(request, context):
    """Ends when the client doesn't want the answer any more."""
    ended = threading.Event()
    context.add_callback(ended.set)
    begun.release()
    ended.wait()
    cancelled.release()
    return b""


def hang_after_one(request, context):
    yield b"one"
    hang(request, context)


def has_begun(request, context):
    """Whether one more call hangs since this was last asked."""
    return repr(begun.acquire(timeout=5)).encode()


def was_cancelled(request, context):
    """Whether one more call was cancelled since this was last asked."""
    return repr(cancelled.acquire(timeout=5)).encode()


def collect(requests, context):
    return b",".join(requests)


def count(request, context):
    for at in range(int(request)):
        yield b"%d" % at


def large(request, context):
    for _ in range(64):
        yield b"x" * 100_000


def converse(requests, context):
    for request in requests:
        yield request.upper()


def compressed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return request * 1000


HANDLERS = {
    grpc.unary_unary_rpc_method_handler: [
        unary, metadata, fail, hang, has_begun, was_cancelled, compressed,
    ],
    grpc.unary_stream_rpc_method_handler: [fails_late, hang_after_one, count, large],
    grpc.stream_unary_rpc_method_handler: [collect],
    grpc.stream_stream_rpc_method_handler: [converse],
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
methods = {f.__name__: kind(f) for kind, functions in HANDLERS.items() for f in functions}
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Peer", methods)])
servicer = health.HealthServicer()
servicer.set("test.Peer", health_pb2.HealthCheckResponse.SERVING)
servicer.set("test.Off", health_pb2.HealthCheckResponse.NOT_SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port(f"0.0.0.0:{sys.argv[1]}")
server.start()
server.wait_for_termination()

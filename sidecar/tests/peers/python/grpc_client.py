"""Makes one kind of gRPC calls, and prints what came of them."""

import sys
import threading

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

channel = grpc.insecure_channel(f"{sys.argv[1]}:50051")
TIMEOUT = 10


def call(kind, name, *args, **kwargs):
    kwargs.setdefault("timeout", TIMEOUT)
    return getattr(channel, kind)(f"/test.Peer/{name}")(*args, **kwargs)


def outcome(error):
    """What a call failed with."""
    trailing = sorted((key, value) for key, value in error.trailing_metadata() or ())
    return error.code(), error.details(), trailing


def failing(make):
    try:
        return "did not fail", make()
    except grpc.RpcError as error:
        return outcome(error)


def unary():
    print([call("unary_unary", "unary", b"call %d" % at) for at in range(20)])
    multicallable = channel.unary_unary("/test.Peer/unary")
    pending = [multicallable.future(b"parallel %d" % at, timeout=TIMEOUT) for at in range(100)]
    print([each.result() for each in pending])
    print(len(call("unary_unary", "unary", b"x" * 3_000_000)))
    print(call("unary_unary", "unary", b""))


def metadata():
    sent = (("x-sent", "a"), ("x-sent", "b"), ("x-sent-bin", b"\x00\x01"), ("x-long", "v" * 4000))
    answer, made = channel.unary_unary("/test.Peer/metadata").with_call(
        b"", metadata=sent, timeout=TIMEOUT)
    print(answer)
    print(sorted(map(tuple, made.initial_metadata())), sorted(map(tuple, made.trailing_metadata())))
    print(made.code(), made.details())


def statuses():
    print(failing(lambda: call("unary_unary", "fail", b"")))
    print(failing(lambda: call("unary_unary", "does_not_exist", b"")))
    came = []
    print(failing(lambda: came.extend(call("unary_stream", "fails_late", b""))), came)
    # More than a client takes.
    print(failing(lambda: call("unary_unary", "compressed", b"x" * 5000)))


def hung_and_was_cancelled():
    return [call("unary_unary", name, b"") for name in ["has_begun", "was_cancelled"]]


def deadlines():
    code, _, _ = failing(lambda: call("unary_unary", "hang", b"", timeout=1))
    print(code, hung_and_was_cancelled())
    code, _, _ = failing(lambda: list(call("unary_stream", "hang_after_one", b"", timeout=1)))
    print(code, hung_and_was_cancelled())


def cancellation():
    pending = channel.unary_unary("/test.Peer/hang").future(b"", timeout=TIMEOUT)
    print(call("unary_unary", "has_begun", b""))
    pending.cancel()
    print(pending.cancelled(), call("unary_unary", "was_cancelled", b""))
    stream = call("unary_stream", "hang_after_one", b"")
    print(next(stream), call("unary_unary", "has_begun", b""))
    stream.cancel()
    print(call("unary_unary", "was_cancelled", b""))
    print(call("unary_unary", "unary", b"others go on"))


def streams():
    print(call("stream_unary", "collect", iter([b"a", b"b", b"c"])))
    print(call("stream_unary", "collect", iter([])))
    print(b"".join(call("unary_stream", "count", b"1000")))
    print(sum(map(len, call("unary_stream", "large", b""))))
    print(len(call("stream_unary", "collect", (b"y" * 10_000 for _ in range(200)))))
    print(list(call("stream_stream", "converse", iter([b"a", b"b", b"c"]))))


def conversation():
    """Each message is sent only when the one before has been answered."""
    answered = threading.Semaphore(1)

    def questions():
        for at in range(10):
            answered.acquire()
            yield b"question %d" % at

    for answer in call("stream_stream", "converse", questions()):
        print(answer)
        answered.release()


def slow_reader():
    """One stream that is not read holds back no other on the connection."""
    unread = call("unary_stream", "large", b"")
    print(next(unread)[:3])
    print([call("unary_unary", "unary", b"%d" % at) for at in range(50)])
    print(sum(map(len, unread)))


def compression():
    print(len(call("unary_unary", "compressed", b"abc", compression=grpc.Compression.Gzip)))


def health():
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ["", "test.Peer", "test.Off"]:
        request = health_pb2.HealthCheckRequest(service=service)
        print(service, stub.Check(request, timeout=TIMEOUT))
    unknown = health_pb2.HealthCheckRequest(service="unknown")
    print(failing(lambda: stub.Check(unknown, timeout=TIMEOUT)))
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="test.Peer"), timeout=TIMEOUT)
    print(next(watch))
    watch.cancel()


globals()[sys.argv[2]]()
channel.close()

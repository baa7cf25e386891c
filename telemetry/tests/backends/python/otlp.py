"""A receiver of OTLP, generated from the official protocol. What it received is in a file, as
JSON: of what came as deltas, the sum.
"""

import argparse
import concurrent.futures
import gzip
import http.server
import json
import os
import socket
import ssl
import threading
import time

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality


def attributes(pairs):
    def plain(value):
        return getattr(value, value.WhichOneof("value"))

    return {pair.key: plain(pair.value) for pair in pairs}


def added(before, delta):
    """What two deltas come to. A scale is none, and buckets are in the first one's order."""
    if before is None:
        return delta
    if not isinstance(delta, dict):
        return before + delta
    total = {key: before[key] + delta[key] for key in ("count", "sum")}
    if "buckets" in delta:
        total["buckets"] = [sum(pair) for pair in zip(before["buckets"], delta["buckets"])]
    return {**delta, **total}


class Received:
    """Everything, by how it came."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.changed = threading.Event()
        self.by = {way: {"requests": 0, "metrics": {}, "spans": [], "logs": []} for way in ("grpc", "http")}
        self.write()
        threading.Thread(target=self.keep_writing, daemon=True).start()

    def keep_writing(self):
        """Writes what has come since the last time; nobody's answer waits for it."""
        while True:
            self.changed.wait()
            self.changed.clear()
            self.write()
            time.sleep(0.2)

    def write(self):
        with self.lock:
            text = json.dumps(self.by)
        # Whoever reads sees all of it or what was before.
        beside = self.path + ".new"
        with open(beside, "w") as file:
            file.write(text)
        os.rename(beside, self.path)

    def metrics(self, way, request):
        with self.lock:
            by = self.by[way]
            by["requests"] += 1
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        self.metric(by["metrics"], metric, attributes(resource.resource.attributes))
            self.changed.set()

    def metric(self, metrics, metric, resource):
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        delta = kind != "gauge" and data.aggregation_temporality == AggregationTemporality.Value(
            "AGGREGATION_TEMPORALITY_DELTA"
        )
        known = metrics.setdefault(metric.name, {"points": {}})
        points = {}
        for point in data.data_points:
            own = attributes(point.attributes)
            key = ",".join(f"{name}={own[name]}" for name in sorted(own))
            if kind in ("sum", "gauge"):
                value = getattr(point, point.WhichOneof("value"))
            elif kind == "histogram":
                assert sum(point.bucket_counts) == point.count, point
                value = {"count": point.count, "sum": point.sum, "buckets": list(point.bucket_counts)}
            else:
                assert kind == "exponential_histogram", kind
                assert point.zero_count + sum(point.positive.bucket_counts) == point.count, point
                value = {"count": point.count, "sum": point.sum, "scale": point.scale}
            if delta:
                value = added(known["points"].get(key), value)
            points[key] = value
            assert 0 < point.start_time_unix_nano <= point.time_unix_nano, point
        known.update(kind=kind, delta=delta, unit=metric.unit, description=metric.description, resource=resource)
        known["points"].update(points)

    def traces(self, way, request):
        with self.lock:
            by = self.by[way]
            by["requests"] += 1
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        by["spans"].append(
                            {
                                "trace": span.trace_id.hex(),
                                "id": span.span_id.hex(),
                                "parent": span.parent_span_id.hex(),
                                "state": span.trace_state,
                                "name": span.name,
                                "kind": span.kind,
                                "start": span.start_time_unix_nano,
                                "end": span.end_time_unix_nano,
                                "status": span.status.code,
                                "attributes": attributes(span.attributes),
                                "resource": attributes(resource.resource.attributes),
                            }
                        )
            self.changed.set()

    def logs(self, way, request):
        with self.lock:
            by = self.by[way]
            by["requests"] += 1
            for resource in request.resource_logs:
                for scope in resource.scope_logs:
                    for record in scope.log_records:
                        by["logs"].append(
                            {
                                "time": record.time_unix_nano,
                                "severity": record.severity_number,
                                "body": record.body.string_value,
                                "trace": record.trace_id.hex(),
                                "span": record.span_id.hex(),
                                "attributes": attributes(record.attributes),
                                "resource": attributes(resource.resource.attributes),
                            }
                        )
            self.changed.set()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        received.metrics("grpc", request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        received.traces("grpc", request)
        return trace_service_pb2.ExportTraceServiceResponse()


class Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def Export(self, request, context):
        received.logs("grpc", request)
        return logs_service_pb2.ExportLogsServiceResponse()


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.headers["content-type"] == "application/x-protobuf", self.headers
        request, take, answer = {
            "/v1/metrics": (
                metrics_service_pb2.ExportMetricsServiceRequest(),
                received.metrics,
                metrics_service_pb2.ExportMetricsServiceResponse(),
            ),
            "/v1/traces": (
                trace_service_pb2.ExportTraceServiceRequest(),
                received.traces,
                trace_service_pb2.ExportTraceServiceResponse(),
            ),
            "/v1/logs": (
                logs_service_pb2.ExportLogsServiceRequest(),
                received.logs,
                logs_service_pb2.ExportLogsServiceResponse(),
            ),
        }[self.path]
        request.ParseFromString(body)
        take("http", request)
        answer = answer.SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class HttpServer(http.server.ThreadingHTTPServer):
    def __init__(self, address, handler):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("grpc", type=int, help="port for gRPC")
parser.add_argument("http", type=int, help="port for HTTP")
parser.add_argument("path", help="where to write what was received")
parser.add_argument("--address", default="127.0.0.1")
parser.add_argument("--certificate", help="a file: with it, TLS is spoken")
parser.add_argument("--key", help="a file")
parser.add_argument("--client-ca", help="a file: who connects has to have a certificate of it")
parser.add_argument("--uncompressed", action="store_true", help="gRPC takes no compressed message")
args = parser.parse_args()


def read(path):
    with open(path, "rb") as file:
        return file.read()


received = Received(args.path)
# Bits, of which the lowest is for what is not compressed.
options = [("grpc.compression_enabled_algorithms_bitset", 1)] if args.uncompressed else []
server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4), options=options)
metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)
http_server = HttpServer((args.address, args.http), Http)
host = f"[{args.address}]" if ":" in args.address else args.address
grpc_address = f"{host}:{args.grpc}"
if args.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.certificate, args.key)
    client_ca = None
    if args.client_ca:
        client_ca = read(args.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(args.client_ca)
    pairs = [(read(args.key), read(args.certificate))]
    asks = client_ca is not None
    credentials = grpc.ssl_server_credentials(pairs, client_ca, asks)
    bound = server.add_secure_port(grpc_address, credentials)
    http_server.socket = context.wrap_socket(http_server.socket, server_side=True)
else:
    bound = server.add_insecure_port(grpc_address)
assert bound == args.grpc
server.start()
http_server.serve_forever()

"""A receiver of OTLP, generated from the official protocol: gRPC on the first port, HTTP
on the second. What it received is in the file that is named third, as JSON. It is local, unless
an address is named fourth. With a certificate and its key in the files that are named then, it
speaks TLS.
"""

import concurrent.futures
import gzip
import http.server
import json
import os
import ssl
import sys
import threading
import time

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


def attributes(pairs):
    def plain(value):
        return getattr(value, value.WhichOneof("value"))

    return {pair.key: plain(pair.value) for pair in pairs}


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
            points[key] = value
            assert 0 < point.start_time_unix_nano <= point.time_unix_nano, point
        known = metrics.setdefault(metric.name, {"points": {}})
        known.update(kind=kind, unit=metric.unit, description=metric.description, resource=resource)
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


grpc_port, http_port, path, *rest = sys.argv[1:]
address = rest.pop(0) if rest else "127.0.0.1"
received = Received(path)
server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)
http_server = http.server.ThreadingHTTPServer((address, int(http_port)), Http)
grpc_address = f"{address}:{grpc_port}"
if rest:
    certificate, key = rest
    with open(key, "rb") as key_file, open(certificate, "rb") as certificate_file:
        pair = (key_file.read(), certificate_file.read())
    bound = server.add_secure_port(grpc_address, grpc.ssl_server_credentials([pair]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    http_server.socket = context.wrap_socket(http_server.socket, server_side=True)
else:
    bound = server.add_insecure_port(grpc_address)
assert bound == int(grpc_port)
server.start()
http_server.serve_forever()

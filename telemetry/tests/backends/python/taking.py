"""Takes whatever is posted to it, and keeps nothing. Listens at the address and port that are named."""

import http.server
import sys


class Taking(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


address, port = sys.argv[1:]
http.server.ThreadingHTTPServer((address, int(port)), Taking).serve_forever()

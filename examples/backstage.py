"""What the services of the examples share: a server on $SERVICE_PORT that speaks JSON."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, document, **headers):
        body = json.dumps(document).encode()
        self.send_response(status)
        fields = headers | {"Content_Type": "application/json", "Content_Length": str(len(body))}
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait to be accepted


def serve(service):
    Server(("127.0.0.1", int(os.environ.get("SERVICE_PORT", "9000"))), service).serve_forever()

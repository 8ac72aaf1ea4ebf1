"""The server of `spikebert explore`: two paths, for this machine alone.

    GET  /          the page
    POST /explain   JSON to JSON: what `answer` makes of it, or {"error": a sentence}

It listens on 127.0.0.1. A web site could still have the user's browser call it under a name of its
own that it points there (DNS rebinding), so a request must name this address in its Host header;
and as it must send JSON by name, no other site's page may send it without asking first (CORS),
which is never granted.
"""

import json
import os
import select
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "127.0.0.1"
MOST_BYTES = 1 << 18  # of a request: a book's chapter, of which 128 tokens are read


class ExploreServer(ThreadingHTTPServer):
    """Listens from the start; `serve_forever` answers, each request on a thread of its own.

    port: 0 for any that is free. page: the HTML. policy: its Content-Security-Policy. answer: a
    function of a request's JSON, and of a function that tells whether nobody waits for the answer
    any more; it returns a dict, or raises ValueError with a sentence for the user, or where nobody
    waits ConnectionError; it is called from many threads at once. Raises OSError where the port
    cannot be had.
    """

    daemon_threads = True
    request_queue_size = 128  # of connections that wait: not one of 20 at once is turned away
    allow_reuse_address = os.name == "posix"  # elsewhere it would share a port that is taken

    def __init__(self, port, page, policy, answer):
        super().__init__((ADDRESS, port), _Handler)
        self.page, self.policy, self.answer = page.encode(), policy, answer
        port = f":{self.server_port}" if self.server_port != 80 else ""  # 80 is not said
        self.hosts = {name + port for name in (ADDRESS, "localhost")}
        self.url = f"http://{ADDRESS}:{self.server_port}/"

    @property
    def closed(self):
        """Whether it has ended."""
        return self.socket.fileno() < 0

    def handle_error(self, request, client_address):
        """A page that no longer waits for its answer, as while someone types, is no error; nor is
        work that was stopped because the server has ended."""
        if not self.closed and not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a byte, after which a connection is closed

    def do_GET(self):
        if self._is_for_us("/"):
            self._send(200, self.server.page, "text/html; charset=utf-8")

    def do_POST(self):
        if not self._is_for_us("/explain"):
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json":
            self._refuse(415, "send JSON, as application/json")
        elif not (length.isascii() and length.isdecimal()):
            self._refuse(411, "say in Content-Length how many bytes follow")
        elif len(length) > 9 or int(length) > MOST_BYTES:
            self._refuse(413, f"too long: {MOST_BYTES:,} bytes are read at most")
        else:
            self._answer(self.rfile.read(int(length)))

    def _answer(self, body):
        try:
            answer = self.server.answer(json.loads(body), self._is_gone)
        except (ValueError, RecursionError) as error:
            self._send_json(400, {"error": str(error)})
        else:
            self._send_json(200, answer)

    def _is_gone(self):
        """Whether whoever asked has closed the connection, or the server has ended."""
        if self.server.closed:
            return True
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _is_for_us(self, path):
        """Whether a request may be answered; else it has been refused."""
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(403, f"this server is {self.server.url} and no other")
        elif self.path != path:
            self._refuse(404, f"there is nothing here; the page is {self.server.url}")
        else:
            return True
        return False

    def _refuse(self, status, sentence):
        self.close_connection = True  # what else the request holds is not read
        self._send_json(status, {"error": sentence})

    def _send_json(self, status, value):
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status, body, content_type):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", f"{self.server.policy}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """Silent: the terminal holds the address, and how to stop."""

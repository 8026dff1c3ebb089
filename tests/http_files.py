"""A file server on this machine that knows byte ranges and fails on demand.

One request per connection, so that a dropped connection is a dropped request. It listens on 127.0.0.1 only; the
variables of a proxy are set aside while it runs, because GDAL would obey them.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

CUT = "cut"
BROKEN = "broken"
RESET = "reset"


class FileServer(ThreadingHTTPServer):
    """Serves the files of a folder.

    `fault` is asked for every request, with its number from 1, its path and whether it wants content: None (all is
    well), `CUT` (half of the content, then the end), `BROKEN` (half of the content, then a reset), `RESET` (a reset
    before any answer) or an HTTP status code.
    """

    daemon_threads = False
    block_on_close = True
    request_queue_size = 64  # else a burst of connections waits a second for the next try

    def __init__(self, folder, fault=None):
        self.folder = Path(folder)
        self.fault = fault
        self.requests = []
        self.n_fault = 0
        self.n_byte = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request, client_address):
        """Clients that go away are no news."""

    def count(self, path, has_content):
        with self.lock:
            self.requests.append(path)
            found = self.fault(len(self.requests), path, has_content) if self.fault else None
            self.n_fault += found is not None
            return found


class _Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_HEAD(self):
        self._answer(has_content=False)

    def do_GET(self):
        self._answer(has_content=True)

    def log_message(self, *arguments):
        """Nothing is printed."""

    def _answer(self, *, has_content):
        path = self.path.split("?")[0]
        fault = self.server.count(path, has_content)
        file = self.server.folder / path.lstrip("/")
        if fault == RESET:
            self._reset()
        elif isinstance(fault, int) or not file.is_file():
            self.send_error(fault if isinstance(fault, int) else 404)
        else:
            self._send(file.read_bytes(), has_content=has_content, is_cut=fault in {CUT, BROKEN})
            if fault == BROKEN:
                self._reset()

    def _send(self, content, *, has_content, is_cut):
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = 0, len(content)
        if asked:
            start, stop = int(asked[1]), min(int(asked[2] or stop - 1) + 1, stop)
        if start >= stop:
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        if has_content:
            if is_cut:
                stop = start + (stop - start) // 2
            self.wfile.write(content[start:stop])
            with self.server.lock:
                self.server.n_byte += stop - start

    def _reset(self):
        # A linger of 0 s makes the close a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile.flush()
        self.connection.close()


@contextmanager
def serve(folder, fault=None):
    """Serve a folder for a `with` block; no thread outlives it."""
    hidden = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    direct = mock.patch.dict(os.environ, hidden | {"no_proxy": "127.0.0.1"}, clear=True)
    with direct, FileServer(folder, fault) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def free_port():
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

"""What the tests need of Caddy: a session that goes with requests and changes by responses."""

import http.server
import json
import os
import socketserver
import tempfile
import threading
from urllib.parse import parse_qs, quote, urlsplit


class Proxy:
    """One browser's session, kept as Caddy keeps it."""

    def __init__(self, data=None, id='7KcVyzyzAhxNBZB2SXfFhQ', **more):
        self.data, self.id = data, None if data is None else id
        self.more = more  # headers of requests by their CGI names
        self.replaced = 0
        self.sent = {}  # what the last response has asked for
        self.version = 1
        self.exposed = True  # whether headers have the data
        self.begun = False  # whether the head of the response has come
        self.asked = []  # what the session API was asked for since the request began: method, path, body
        self.refusals = {}  # by method and path, with what the API answers instead: status, error

    def environ(self):
        """Returns the headers of the next request, by their names in CGI."""
        self.begun, self.asked, self.sent = False, [], {}
        environ = dict(self.more, HTTP_X_SESSION_NEW_ID=self._new_id())
        if self.id is not None:
            environ.update(HTTP_X_SESSION_ID=self.id)
            if self.exposed:
                environ.update(HTTP_X_SESSION_DATA=json.dumps(self.data))
        return environ

    def _new_id(self):
        return 'new-id-of-22-chars-%03d' % self.replaced

    def obey(self, headers):
        """Does what a list of response headers asks for."""
        self.begun, self.sent = True, {}
        for name, value in headers:
            if name.lower().startswith('x-session-'):
                assert name not in self.sent, 'a second %s' % name
                assert value.isascii() and value.isprintable(), value
                self.sent[name[10:]] = value if name == 'X-Session-Control' else json.loads(value)
        controls = self.sent.get('Control', '').split(', ')
        if 'destroy' in controls:
            self.data = self.id = None
            return
        self._change('clear' in controls, self.sent.get('Put'), self.sent.get('Set'))

    def _change(self, clear=False, put=None, patch=None):
        if self.id is not None and clear or self.id is None and (put is not None or patch is not None):
            self.data, self.id = {}, self._new_id()
            self.replaced += 1
        if self.id is not None:
            self.data.update(put or {})
            self.data = merge(self.data, patch or {})
            self.version += 1

    def serve(self, test, unix=False):
        """Serves the session API until the test ends."""
        proxy = self

        class Handler(_Handler):
            def answer(self, *request):
                return proxy._answer(*request)

        if unix:
            folder = tempfile.TemporaryDirectory()
            test.addCleanup(folder.cleanup)
            path = os.path.join(folder.name, 'api.sock')
            server = socketserver.ThreadingUnixStreamServer(path, Handler)
            self.host, origin = 'localhost', 'http+unix://' + quote(path, safe='')
        else:
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
            self.host = '127.0.0.1:%d' % server.server_port
            origin = 'http://' + self.host
        test.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        test.addCleanup(server.shutdown)
        self.more['HTTP_X_SESSION_API'] = origin + '/capability'

    def _answer(self, method, target, headers, body):
        """Returns status and body of an answer of the API."""
        url = urlsplit(target)
        query = parse_qs(url.query, keep_blank_values=True)
        path = url.path[len('/capability'):]
        self.asked.append((method, target[len('/capability'):], body))
        assert url.path.startswith('/capability') and headers['Host'] == self.host, (target, headers['Host'])
        assert body is None or headers['Content-Type'] == 'application/json', headers
        if (method, path) in self.refusals:
            status, error = self.refusals[method, path]
            return status, {'error': error}
        if 'begun' in query and not self.begun:
            return 409, {'error': 'the response has not begun'}
        if self.id is None and method not in ('PATCH', 'PUT'):
            return 404, {'error': 'there is no session'}
        if self.begun and (self.id is None or path in ('/clear', '/renew', '/max-age')):
            return 409, {'error': 'it is too late for a cookie'}
        match = headers['If-Match']
        if match is not None and match != self.tag:
            return 412, {'error': 'the session has another version'}
        if method == 'DELETE':
            if path == '':
                self.data = self.id = None
            return 204, None
        if method != 'GET':
            if 'all' in query:
                self.data = {}
            self._change(path == '/clear', body if method == 'PUT' else None, body if method == 'PATCH' else None)
        session = {'id': self.id, 'version': self.version, 'created': 1, 'expires': 2000000000}
        return 200, dict(session, data=self.data) if method == 'GET' else session

    @property
    def tag(self):
        return '"%s.%d"' % (self.id, self.version)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        length = self.headers['Content-Length']
        text = self.rfile.read(int(length or 0))
        status, answer = self.answer(self.command, self.path, self.headers, json.loads(text) if text else None)
        text = b'' if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        if status == 200:
            self.send_header('ETag', '"%s.%d"' % (answer['id'], answer['version']))
        if status != 204:
            self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PATCH = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *arguments):
        pass


def merge(target, patch):
    """Applies a merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merge(target.get(key), value)
    return target

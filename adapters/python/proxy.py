"""What the tests need of Caddy: a session that goes with requests and changes by responses."""

import json


class Proxy:
    """One browser's session, kept as Caddy keeps it."""

    def __init__(self, data=None, id='7KcVyzyzAhxNBZB2SXfFhQ', **more):
        self.data, self.id = data, None if data is None else id
        self.more = more  # headers of requests by their CGI names
        self.replaced = 0
        self.sent = {}  # what the last response has asked for

    def environ(self):
        """Returns the headers of the next request, by their names in CGI."""
        environ = dict(self.more, HTTP_X_SESSION_NEW_ID=self._new_id())
        if self.id is not None:
            environ.update(HTTP_X_SESSION_ID=self.id, HTTP_X_SESSION_DATA=json.dumps(self.data))
        return environ

    def _new_id(self):
        return 'new-id-of-22-chars-%03d' % self.replaced

    def obey(self, headers):
        """Does what a list of response headers asks for."""
        self.sent = {}
        for name, value in headers:
            if name.lower().startswith('x-session-'):
                assert name not in self.sent, 'a second %s' % name
                assert value.isascii() and value.isprintable(), value
                self.sent[name[10:]] = value if name == 'X-Session-Control' else json.loads(value)
        controls = self.sent.get('Control', '').split(', ')
        if 'destroy' in controls:
            self.data = self.id = None
            return
        if self.id is not None and 'clear' in controls or self.id is None and ('Put' in self.sent or 'Set' in self.sent):
            self.data, self.id = {}, self._new_id()
            self.replaced += 1
        if self.id is not None:
            self.data.update(self.sent.get('Put', {}))
            self.data = merge(self.data, self.sent.get('Set', {}))


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

"""Sessions that Caddy keeps, for Flask, Django and any other WSGI application.

The module takes the place of the session code of a framework. It reads the
session from the request headers that Caddy's ``session`` directive sets, and
asks for changes with the response headers that the directive obeys. So the
application must be reachable through Caddy only, and the site needs::

    session {
        request_headers id version data expires new_id
    }

Flask::

    app.session_interface = caddy_session.SessionInterface()

Django, in the settings, the second one in the place of Django's own::

    SESSION_ENGINE = 'caddy_session'
    MIDDLEWARE = [..., 'caddy_session.SessionMiddleware', ...]

WSGI, where ``environ['caddy.session']`` is then a mapping::

    application = caddy_session.WSGIMiddleware(application)

What is promised:

- The session has changed before the client gets the first byte of the
  response. If it can't be saved, the client gets an error in its place.
- Only differences are sent, found by comparing with what came. So changes in
  nested dicts and lists are seen, and parallel requests that change different
  keys, nested ones too, lose nothing.
- Plain JSON is stored as it is, for programs in other languages to share.
- A value that can't be stored raises a TypeError that names where it is.
- A change after the response has begun can't be saved: an error in the log of
  the logger ``caddy_session`` names the key.
- With ``api`` in the site, it can be, and so can data that no header holds: Caddy
  is asked. ``save`` then saves at once, and ``reload`` reads what others have
  changed. A SessionAPIError says what could not be done.
- Without Caddy in front, the session is empty and is not kept; a warning says so
  once a process. With ``required``, a RuntimeError says so on each request.

What is not: sessions of other requests can't be opened, listed or deleted, and
the Session model of Django stays empty.
"""

import http.client
import json
import logging
import re
import socket
import time
from collections.abc import Mapping, MutableMapping
from urllib.parse import unquote

__version__ = '0.1.0'

_log = logging.getLogger('caddy_session')
_unserializable = (TypeError, ValueError, RecursionError)


def _refuse(name):
    raise ValueError('%s is not JSON' % name)


def _loads(text):
    return json.loads(text, parse_constant=_refuse)


def _dumps(value):
    """Returns JSON that a header can hold: ASCII without control characters."""
    return json.dumps(value, separators=(',', ':')).replace('\x7f', '\\u007f')


def _plain(data, dumps):
    """Returns a copy of data as it is once it was JSON, made by dumps.

    Raises a TypeError that names the first key whose value can't be JSON.
    """
    try:
        return _loads(dumps(data))
    except _unserializable as error:
        raise TypeError('session%s: %s' % (_path(data, dumps), error)) from None


def _path(value, dumps, levels=32):
    """Returns where in value is what can't be JSON, as subscripts."""
    items = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, item in items:
        try:
            _loads(dumps(item))
        except _unserializable:
            return '[%r]%s' % (key, _path(item, dumps, levels - 1) if levels else '')
    return ''


def _same(a, b):
    """Reports whether two values are the same JSON: 1 is 1.0, and is not true."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _has_null(value):
    """Reports whether a merge patch would lose something of value: RFC 7396
    takes null in an object for "remove". Lists are values to it."""
    return value is None or isinstance(value, dict) and any(map(_has_null, value.values()))


def _patch(before, after):
    """Returns the merge patch from before to after and what it can't say: a dict
    of the members that have to be put as a whole."""
    patch, put = {}, {}
    for key in before:
        if key not in after:
            patch[key] = None
    for key, value in after.items():
        old = before.get(key, _patch)  # which no JSON is
        if _same(old, value):
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            inner, unsayable = _patch(old, value)
            if not unsayable:
                patch[key] = inner
                continue
        elif not _has_null(value):
            patch[key] = value
            continue
        put[key] = value
    return patch, put


def _rebase(before, after, now):
    """Returns what has become of before in now, with the changes from before to
    after."""
    now = {key: value for key, value in now.items() if key not in before or key in after}
    for key, value in after.items():
        old = before.get(key, _patch)  # which no JSON is
        if _same(old, value):
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            there = now.get(key)
            value = _rebase(old, value, there if isinstance(there, dict) else {})
        now[key] = value
    return now


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path, timeout):
        super().__init__('localhost', timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class SessionAPIError(RuntimeError):
    """What the session API could not do. ``status`` is that of its answer (see
    docs/api.md, "Errors"), or None if none came."""

    def __init__(self, what, status=None):
        super().__init__(what)
        self.status = status


def _ask(url, method, path='', body=None, match=None):
    """Sends the session API behind url a request, and returns the answer, {} if it
    is empty, and its entity tag. body is JSON.

    Errors do not have the URL in them, which is a secret.
    """
    parts = re.fullmatch(r'http(s|\+unix)?://([^/]+)(/[\w-]+)', url)
    if not parts:
        raise SessionAPIError('X-Session-Api is no URL of a session API')
    scheme, host, base = parts.groups()
    if scheme == '+unix':
        connection = _UnixConnection(unquote(host), 30)
    else:
        connection = (http.client.HTTPSConnection if scheme else http.client.HTTPConnection)(host, timeout=30)
    headers = {} if match is None else {'If-Match': match}
    if body is not None:
        headers['Content-Type'] = 'application/json'
        body = _dumps(body).encode()
    try:
        try:
            connection.request(method, base + path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered without reading all
        answer = connection.getresponse()
        text = answer.read()
        body = json.loads(text) if text else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SessionAPIError('the session API does not answer: %s' % (error or type(error).__name__)) from None
    finally:
        connection.close()
    if answer.status >= 300:
        what = 'the session API answers %s %s with %d: %s' % (method, path.partition('?')[0] or '/', answer.status, body.get('error'))
        raise SessionAPIError(what, answer.status)
    return body, answer.headers['ETag']


# What is longer in headers is told by the API, where there is one: servers that
# applications run in have limits.
_LONG = 8192


class Visit:
    """The session of one request: what Caddy says of it, and what the response
    is going to ask for.

    environ is a WSGI environment, or whatever else has the request's headers
    under their names in CGI. dumps makes JSON of session data.

    Where there is a session API, methods may raise a SessionAPIError. What it was
    to do is then left to the head of the response, unless that is out.
    """

    _warned = False

    def __init__(self, environ, required=False, dumps=json.dumps):
        self.id = environ.get('HTTP_X_SESSION_ID')
        self.new = self.id is None
        self.new_id = environ.get('HTTP_X_SESSION_NEW_ID')
        self.expires = environ.get('HTTP_X_SESSION_EXPIRES')
        self.begins = False  # even without data
        self.destroyed = False
        self.concluding = False  # what is saved goes with the head
        self.version = environ.get('HTTP_X_SESSION_VERSION')
        self._data = environ.get('HTTP_X_SESSION_DATA')
        self._dumps = dumps
        self._before = None  # the data that Caddy has, as plain JSON, if they are not _data
        self._ended = None  # 'clear' or 'destroy'
        self._controls = {}
        self._said = None  # what the head says: whether anything, the id and the data
        self._begun = False  # the head is out
        self._unsayable = None  # the last error of what was changed too late
        self.absent = self.id is None and self.new_id is None
        self.api = None if self.absent else environ.get('HTTP_X_SESSION_API')
        if not self.absent:
            return
        reason = (
            'the request has neither X-Session-Id nor X-Session-New-Id: it did not come through Caddy\'s '
            'session directive, or request_headers lacks new_id there'
        )
        if required:
            raise RuntimeError(reason)
        if not Visit._warned:
            Visit._warned = True
            _log.warning('%s. Sessions are empty, and are not kept.', reason)

    @property
    def text(self):
        """The session's data as JSON."""
        if self.id is None or self._ended:
            return '{}'
        if self._before is not None:
            return _dumps(self._before)
        if self._data is None and self.api is not None:
            self._data = _dumps(_ask(self.api, 'GET')[0]['data'])  # which headers do not hold
        if self._data is None:
            raise RuntimeError(
                'the request has X-Session-Id but no X-Session-Data: the site\'s session directive has forward lines, '
                'or request_headers without data'
            )
        return self._data

    @property
    def version_or_text(self):
        """What changes with the data, without fetching them."""
        return self.version if self._data is None and self.api and self.version else self.text

    @property
    def next_id(self):
        """The id that the session has once it is saved."""
        return self.new_id if self.id is None or self._ended else self.id

    @property
    def left(self):
        """How many seconds the session lasts unless it is used again, or None."""
        return int(self.expires) - int(time.time()) if self.expires and not self._ended else None

    def clear(self, now=False):
        """Asks for another session in place of this one, without its data."""
        self._ended = self._ended or self.id and 'clear'
        self._direct_all(now)

    def destroy(self, now=False):
        self._ended = self.id and 'destroy'
        self.destroyed = bool(self._ended)
        self.begins = False
        self._direct_all(now)

    def ask(self, control):
        """Adds a directive of X-Session-Control, in place of one of the same name."""
        self._controls[control.partition('=')[0]] = control
        self._direct_all(False)

    def plain(self, data):
        return _plain(data, self._dumps)

    def headers(self, after, lasts=lambda data: 0, refresh=False):
        """Returns the response headers that make the session what after is: plain
        JSON, or None if nobody has looked at the session.

        lasts tells, of data, the max-age in seconds that a session with it asks
        for, 0 for none. Caddy is told with every change, and with refresh also
        when a tenth of that time has passed.
        """
        headers = [] if self.absent else self._headers(after, lasts, refresh)
        if self.api and sum(len(value) for _, value in headers) > _LONG:
            self._commit(after, lasts)
            headers = self._headers(after, lasts, refresh)
        none = self._ended == 'destroy' and not after or self.id is None and not headers
        self._said = bool(headers), None if none else self.next_id or self.id, after
        return headers

    def save(self, after, lasts=lambda data: 0):
        """Has the API make the session what after is, plain JSON, or None for the
        data that it has. Without an API the head of the response is to say it.
        """
        if self.api and not self.concluding and not self._waits():
            self._commit(after, lasts)
            if self._said:
                self._said = self._said[0], self.id, after

    def reload(self):
        """Returns the session's data as they are now, as JSON, to go on from. Without
        an API they are what Caddy was told last.
        """
        if self._waits():
            return self.text if self._said[2] is None else _dumps(self._said[2])
        if self.api and self.id is not None and not self._ended:
            answer, _ = self._ask('GET')
            self._became(answer, answer['data'])
            if self._said:
                self._said = self._said[0], self.id, answer['data']
        return self.text

    def _waits(self):
        """Reports whether the head has been decided, with something to say, and is not
        out: what the API does now, it would do again."""
        return bool(self._said and self._said[0] and not self._begun)

    def begin(self):
        """Goes on from what the head of the response says. Call it when that is out."""
        if self._begun:
            return
        self._begun = True
        if self._said:
            told, self.id, after = self._said
            if self._ended or after is not None:
                self._before = after or {}
            self._ended = None
            self._controls.clear()

    def finish(self, encode):
        """Saves by the API what has changed since the head of the response, or logs
        that it is lost. encode returns the data.
        """
        self.begin()
        try:
            after = self.plain(encode())
        except TypeError as error:
            if str(error) != self._unsayable:
                self._unsayable = str(error)
                _log.error('%s was changed after the response had begun: the change is lost', error)
            return
        patch, put = _patch(self._known(), after)
        if not patch and not put:
            return
        why = ''
        if self.api:
            try:
                return self._commit(after)
            except SessionAPIError as error:
                why = ': %s' % error
        self._before = after
        for key in (*patch, *put):
            _log.error('session[%r] was changed after the response had begun: the change is lost%s', key, why)

    def _known(self):
        """Returns the data that Caddy has, as plain JSON."""
        if self._ended:
            return {}
        if self._before is None:
            self._before = _loads(self.text)
        return self._before

    def _asked(self, after=None):
        """Returns the directives that were asked for."""
        if self._ended == 'destroy' and not after:
            return ['destroy']
        return ['clear'] * bool(self._ended) + list(self._controls.values())

    def _changes(self, after, lasts, refresh=False):
        """Returns what makes the session what after is: directives, a merge patch,
        None if there is nothing to say, and what has to be put as a whole."""
        directives = self._asked(after)
        if directives == ['destroy']:
            return directives, None, {}
        before = {} if after is None and not refresh else self._known()
        after = before if after is None else after
        patch, put = _patch(before, after)
        if self.id is None and not (self.begins or patch or put):
            return [], None, {}
        seconds = lasts(after)
        if self._begun:
            pass  # it takes another cookie
        elif seconds:
            if patch or put or refresh and self.left is not None and self.left < 0.9 * seconds:
                directives.append('max-age=%d' % seconds)
        elif self.id is not None and lasts(before):
            directives.append('max-age=0')
        return directives, patch if patch or self.id is None and not put else None, put

    def _headers(self, after, lasts, refresh):
        directives, patch, put = self._changes(after, lasts, refresh)
        headers = []
        if directives:
            headers.append(('X-Session-Control', ', '.join(directives)))
        if put:
            headers.append(('X-Session-Put', _dumps(put)))
        if patch is not None:
            headers.append(('X-Session-Set', _dumps(patch)))
        return headers

    # What the session API does.

    def _ask(self, method, path='', body=None, match=None):
        if self._begun and (self._said and self._said[0] or self.id is None or method == 'POST'):  # what must not come before the head, or needs it
            path += '&begun' if '?' in path else '?begun'
        return _ask(self.api, method, path, body, match)

    def _became(self, answer, data):
        self.id, self.expires = answer['id'], str(answer['expires'])
        self._before = data

    def _commit(self, after, lasts=lambda data: 0):
        directives, patch, put = self._changes(after, lasts)
        last = []  # what a session that begins has to exist for
        for directive in directives:
            if directive in ('destroy', 'clear', 'renew'):
                self._direct(directive)
            else:
                last.append(directive)
        if put:
            self._put(after)
        elif patch is not None:
            answer, _ = self._ask('PATCH', body=patch)
            self._became(answer, after or {})
        for directive in last:
            self._direct(directive)

    def _put(self, after):
        """Makes the session what after is where no merge patch can say it. What
        others have changed meanwhile stays."""
        if self.id is None:
            answer, _ = self._ask('PUT', body=after)
            return self._became(answer, after)
        for tries in range(50, 0, -1):  # in each, somebody else is done
            now, tag = self._ask('GET')
            try:
                answer, _ = self._ask('PUT', '?all', _rebase(self._known(), after, now['data']), tag)
                return self._became(answer, after)
            except SessionAPIError as error:
                if error.status != 412 or tries == 1:
                    raise

    def _direct(self, directive):
        """Has the API do what a directive of X-Session-Control does."""
        name, _, value = directive.partition('=')
        try:
            if name == 'destroy':
                answer, _ = self._ask('DELETE')
            elif name == 'revoke-others':
                answer, _ = self._ask('DELETE', '/sessions')
            else:
                answer, _ = self._ask('POST', '/' + name + ('?seconds=' + value if value else ''))
        except SessionAPIError as error:
            if error.status != 404:
                raise
            answer = {}  # there is no session, or nobody is signed in
        self._controls.pop(name, None)
        if name in ('destroy', 'clear'):
            self.id, self._before, self._ended = None, None, None
        if 'id' in answer:
            self._became(answer, {} if name == 'clear' else self._before)

    def _direct_all(self, now):
        """Has the API do what was asked for, if that is to be now, or the head is out."""
        try:
            if self.api and (self._begun or now and not self._said):
                for directive in self._asked():
                    self._direct(directive)
        except SessionAPIError as error:
            if self._begun or error.status != 410:  # the head says what is to become of a session that has ended
                raise
        finally:
            if self._begun:  # nothing else will do it
                self.destroyed = self.destroyed and self.id is None
                self._ended = None
                self._controls.clear()


# WSGI


class Session(MutableMapping):
    """What ``environ['caddy.session']`` is.

    A mapping of names to what JSON has. Nothing is read before it is used, and
    nothing is sent if nothing has changed.
    """

    def __init__(self, visit):
        self._visit = visit
        self._loaded = None

    @property
    def _data(self):
        if self._loaded is None:
            self._loaded = _loads(self._visit.text)
        return self._loaded

    @property
    def id(self):
        """The session's id, which is no secret, or None if there is no session."""
        return self._visit.id

    @property
    def new(self):
        """Whether there was no session when the request came."""
        return self._visit.new

    def __getitem__(self, key):
        return self._data[key]

    def __setitem__(self, key, value):
        self._data[key] = value

    def __delitem__(self, key):
        del self._data[key]

    def __iter__(self):
        return iter(self._data)

    def __len__(self):
        return len(self._data)

    def save(self):
        """Saves now what has changed, with the session API. Without it, that is
        saved when the response begins, as ever."""
        self._visit.save(self._loaded if self._loaded is None else self._visit.plain(self._loaded))

    def reload(self):
        """Goes to the data that Caddy has now, with the session API. Without it, back
        to those that came with the request."""
        self._loaded = _loads(self._visit.reload())

    def clear(self):
        """Drops all data. The session gets another id."""
        self._visit.clear()
        self._loaded = {}

    def destroy(self):
        """Ends the session, and removes the browser's cookie. What is set after that
        begins another one."""
        self._visit.destroy()
        self._loaded = {}

    def renew(self):
        """Gives the browser's cookie another secret. Signing in does so by itself."""
        self._visit.ask('renew')

    def max_age(self, seconds):
        """Has the session end in so many seconds, however much or little it is used,
        and the cookie outlive the browser. 0 undoes that."""
        self._visit.ask('max-age=%d' % seconds)

    def revoke_others(self):
        """Ends all other sessions of the user."""
        self._visit.ask('revoke-others')


class WSGIMiddleware:
    """Gives a WSGI application its session, as ``environ['caddy.session']``.

    The session is sent with the first bytes of the body, so a generator may
    change it until then; with the session API, until it ends.
    """

    def __init__(self, application, required=False):
        self.application = application
        self.required = required

    def __call__(self, environ, start_response):
        return _Response(self.application, environ, start_response, Visit(environ, self.required))


class _Response:
    """The response of a WSGI application, whose head waits for the body."""

    def __init__(self, application, environ, start_response, visit):
        self._start = start_response
        self._visit = visit
        self._session = environ['caddy.session'] = Session(visit)
        self._head = self._write = None
        self._body = application(environ, self._start_response)
        self._chunks = iter(self._body)

    def _start_response(self, status, headers, exc_info=None):
        if exc_info and self._write:
            raise exc_info[1].with_traceback(exc_info[2])
        self._head = status, list(headers)
        return self._written

    def _begin(self):
        if self._write is None and self._head is not None:
            used = self._session._loaded
            status, headers = self._head
            headers += self._visit.headers(used if used is None else self._visit.plain(used))
            self._write = self._start(status, headers)
            self._visit.begin()

    def _written(self, data):
        self._begin()
        self._write(data)

    def __iter__(self):
        return self

    def __next__(self):
        for chunk in self._chunks:
            if chunk or self._write:
                self._begin()
                return chunk
        self._begin()
        if self._visit.api:  # as long as there is one: for Caddy, the response may be complete when it is closed
            self._finish()
        raise StopIteration

    def close(self):
        try:
            if hasattr(self._body, 'close'):
                self._body.close()
        finally:
            self._finish()

    def _finish(self):
        if self._write and self._session._loaded is not None:
            self._visit.finish(lambda: self._session._loaded)


# What Flask and Django share


def _until(chunks, visit, finish):
    """Yields chunks, and calls finish before who gets them knows that there are no more."""
    for chunk in chunks:
        yield chunk
        if chunk:
            visit.begin()
    finish()


# Flask


def _flask():
    from flask import sessions

    class FlaskSession(sessions.SecureCookieSession):
        """``flask.session``. ``sid`` is the session's id, which is no secret, or None."""

        def __init__(self, data, had_tags, visit, interface, app):
            super().__init__(data)
            self.accessed = False
            self.new = visit.new
            self.visit = visit
            self.had_tags = had_tags
            self._interface = interface
            self._app = app

        @property
        def sid(self):
            return self.visit.id

        def save(self):
            """Saves now what has changed, with the session API. Without it, that is
            saved when the response begins, as ever."""
            self.visit.save(self.visit.plain(self._interface._encode(self)), self._interface._lasts(self._app))

        def reload(self):
            """Goes to the data that Caddy has now, with the session API. Without it,
            back to those that came with the request."""
            data, self.had_tags = self._interface._decode(self.visit.reload())
            super().clear()
            self.update(data)

        def clear(self):
            """Drops all data. The session gets another id."""
            self.visit.clear()
            self.had_tags = False
            super().clear()

    class SessionInterface(sessions.SessionInterface):
        """Takes the place of Flask's ``app.session_interface``.

        Values that JSON has are stored as they are. Those that hold anything else
        are under the key ``_python``, tagged as Flask does it in its cookies
        (tuples, bytes, Markup, UUID, datetime, and what is registered with
        ``serializer``). Nothing outside of that key is ever taken for a tag, since
        what others store there may be what a user has entered.
        """

        serializer = sessions.session_json_serializer
        session_class = FlaskSession

        def __init__(self, required=False):
            self.required = required

        def open_session(self, app, request):
            visit = Visit(request.environ, self.required, app.json.dumps)
            return self.session_class(*self._decode(visit.text), visit, self, app)

        def _decode(self, text):
            """Returns the data of a session, and whether any were tagged."""
            data = _loads(text)
            tagged = data.pop('_python', None)
            for key, value in (tagged or {}).items():
                # If others have stored the key since, theirs is newer.
                data.setdefault(key, self.serializer.loads(json.dumps(value)))
            return data, tagged is not None

        def _needs_tag(self, value):
            if type(value) in (dict, list):
                return any(map(self._needs_tag, value.values() if type(value) is dict else value))
            tag = self.serializer.tag(value)
            return tag is not value and tag != value

        def _encode(self, session):
            data, tagged = {}, {}
            for key, value in session.items():
                try:
                    if self._needs_tag(value):
                        tagged[key] = self.serializer.tag(value)
                    else:
                        data[key] = value
                except RecursionError:
                    raise TypeError('session[%r]: the %s holds itself, or is too deep' % (key, type(value).__name__)) from None
            if tagged or session.had_tags:  # which stay for what parallel requests put there
                data['_python'] = tagged
            return data

        def _lasts(self, app):
            return lambda data: max(1, int(app.permanent_session_lifetime.total_seconds())) if data.get('_permanent') else 0

        def save_session(self, app, session, response):
            def finish():
                visit.finish(lambda: self._encode(session))

            visit = session.visit
            after = visit.plain(self._encode(session))
            for name, value in visit.headers(after, self._lasts(app), app.config['SESSION_REFRESH_EACH_REQUEST']):
                response.headers.add(name, value)
            if session.accessed:
                response.vary.add('Cookie')
            if visit.api and response.is_streamed and not response.direct_passthrough:
                chunks = response.response
                response.response = _until(chunks, visit, finish)
                response.call_on_close(getattr(chunks, 'close', bool))
            response.call_on_close(finish)

        def regenerate(self, session):
            """Gives the browser's cookie another secret, as Flask-Session's method of
            this name does. Signing in does so by itself."""
            session.visit.ask('renew')

    return SessionInterface


# Django


def _django():
    from asgiref.sync import sync_to_async
    from django.conf import settings
    from django.contrib.sessions.backends.base import SessionBase, UpdateError
    from django.contrib.sessions.exceptions import SessionInterrupted
    from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
    from django.core.exceptions import ImproperlyConfigured
    from django.utils.cache import patch_cache_control, patch_vary_headers
    from django.utils.crypto import salted_hmac

    class SessionStore(SessionBase):
        """``request.session``, with all that Django documents of it.

        ``session_key`` is the session's id. It is no secret: nobody gets into a
        session with it. It stays when somebody signs in or ``cycle_key`` is called
        (the browser's cookie changes), and ``flush`` changes it.

        A store that is made without a request has no session: it is empty, and
        can't be saved.
        """

        visit = None  # SessionMiddleware sets it
        _saved = None  # the data when it was saved, as plain JSON

        def _visit(self):
            if self.visit is None:
                raise RuntimeError('this session store belongs to no request: only request.session can be changed')
            return self.visit

        def _dumps(self, data):
            text = self.serializer().dumps(data)
            try:
                return text.decode() if isinstance(text, bytes) else text
            except UnicodeDecodeError:
                raise ImproperlyConfigured('SESSION_SERIALIZER must make JSON, with caddy_session') from None

        def load(self):
            return {} if self.visit is None else self.serializer().loads(self.visit.text.encode())

        def reload(self):
            """Goes to the data that Caddy has now, with the session API. Without it,
            back to those that came with the request. It is no method of Django's."""
            self._session_cache = self.serializer().loads(self._visit().reload().encode())
            self.accessed = True

        def exists(self, session_key):
            return self.visit is not None and session_key is not None and session_key == self.visit.id

        def create(self):
            self._visit().clear(now=True)
            self._session_key = None
            self.save(must_create=True)
            self.modified = True

        def save(self, must_create=False):
            visit = self._visit()
            if visit.destroyed:
                raise UpdateError
            self._saved = visit.plain(self._get_session(no_load=must_create))
            visit.begins = True
            self._interrupted(visit.save, self._saved, self._lasts)
            if self._session_key is None:
                self._session_key = visit.next_id

        def delete(self, session_key=None):
            if session_key is None or session_key == self.session_key:
                if self.visit is not None:
                    self.visit.destroy(now=True)
                    self._saved = None
            else:
                raise RuntimeError('only the session of the request can be deleted')

        def flush(self):
            if self.visit is not None:
                self.visit.clear(now=True)
            self.clear()
            self._saved = self._session_key = None

        def cycle_key(self):
            self._session
            if self.visit is None:
                return
            self.visit.ask('renew')
            if self._session_key is None:
                self._session_key = self.visit.next_id
                self.visit.begins = True
            self.modified = True

        def get_session_cookie_age(self):
            left = self.visit and self.visit.left
            return settings.SESSION_COOKIE_AGE if left is None else left

        @classmethod
        def clear_expired(cls):
            """Does nothing: Caddy removes what has expired."""

        # Only the session API is waited for.

        async def _aside(self, method, *arguments):
            if self.visit is None or self.visit.api is None:
                return method(*arguments)
            return await sync_to_async(method)(*arguments)

        async def aload(self):
            return await self._aside(self.load)

        async def aexists(self, session_key):
            return self.exists(session_key)

        async def acreate(self):
            await self._aside(self.create)

        async def asave(self, must_create=False):
            await self._aside(self.save, must_create)

        async def adelete(self, session_key=None):
            await self._aside(self.delete, session_key)

        async def aflush(self):
            await self._aside(self.flush)

        async def acycle_key(self):
            await self._aside(self.cycle_key)

        async def areload(self):
            await self._aside(self.reload)

        @classmethod
        async def aclear_expired(cls):
            pass

        # For SessionMiddleware.

        def _lasts(self, data):
            """Returns the max-age that data asks for, 0 if the site's limits hold."""
            expiry = data.get('_session_expiry')
            if expiry is not None:
                return expiry and max(1, int(self.get_expiry_age(expiry=expiry)))
            if settings.is_overridden('SESSION_COOKIE_AGE') and not settings.SESSION_EXPIRE_AT_BROWSER_CLOSE:
                return settings.SESSION_COOKIE_AGE
            return 0

        def _headers(self):
            return self._interrupted(self._visit().headers, self._saved, self._lasts, settings.SESSION_SAVE_EVERY_REQUEST)

        def _interrupted(self, method, *arguments):
            """Calls what fails as Django's engines do if the session has ended meanwhile."""
            try:
                return method(*arguments)
            except SessionAPIError as error:
                if error.status == 410:
                    raise UpdateError from error
                raise

        def _finish(self):
            if hasattr(self, '_session_cache') and not self.visit.destroyed:
                self.visit.finish(lambda: self._session_cache)

        def _until(self, chunks):
            """Does for a stream what _until does, asynchronous or not."""

            async def asynchronous():
                async for chunk in chunks:
                    yield chunk
                    if chunk:
                        self.visit.begin()
                await sync_to_async(self._finish)()

            return asynchronous() if hasattr(chunks, '__aiter__') else _until(chunks, self.visit, self._finish)

    class SessionMiddleware(DjangoSessionMiddleware):
        """Takes the place of Django's middleware of the same name.

        With the setting CADDY_SESSION_REQUIRED, a request that did not come
        through Caddy is an error.
        """

        def __init__(self, get_response):
            super().__init__(get_response)
            if not issubclass(self.SessionStore, SessionStore):
                raise ImproperlyConfigured('caddy_session.SessionMiddleware needs SESSION_ENGINE = \'caddy_session\'')
            self.SessionStore()._dumps({})  # if the serializer can't do, that is told at the start

        def process_request(self, request):
            request.session = session = self.SessionStore()
            visit = Visit(request.META, getattr(settings, 'CADDY_SESSION_REQUIRED', False), session._dumps)
            session.visit, session._session_key = visit, visit.id
            if visit.id is not None:
                # Caddy has removed the cookie by which Django's caches, which
                # go by Vary, tell visitors apart. This stands for it, and
                # nobody else can make it.
                cookie = '%s=%s' % (settings.SESSION_COOKIE_NAME, salted_hmac('caddy_session', visit.id + visit.version_or_text).hexdigest())
                cookies = request.META.get('HTTP_COOKIE')
                request.META['HTTP_COOKIE'] = '%s; %s' % (cookies, cookie) if cookies else cookie

        def process_response(self, request, response):
            session = getattr(request, 'session', None)
            if not isinstance(session, SessionStore) or session.visit is None:
                return response
            if session.accessed:
                patch_vary_headers(response, ('Cookie',))
            unused = not session.accessed or session.is_empty() or session.visit.destroyed and not session.modified
            session.visit.concluding = True
            try:
                if not unused and response.status_code < 500:
                    session.save()
                headers = session._headers()
            except UpdateError:
                raise SessionInterrupted('The request\'s session was deleted before the request completed.') from None
            finally:
                session.visit.concluding = False
            for name, value in headers:
                # Django's caches would have the change done again, to others.
                patch_cache_control(response, private=True)
                if name == 'X-Session-Control' and name in response:
                    value = '%s, %s' % (response[name], value)
                response[name] = value
            if response.status_code < 500 and not session.visit.destroyed:
                if session.visit.api and response.streaming and not getattr(response, 'file_to_stream', None):
                    response.streaming_content = session._until(response.streaming_content)
                close = request.close

                def closed():
                    session._finish()
                    close()

                request.close = closed  # which Django calls when the response is closed
            return response

    return SessionStore, SessionMiddleware


def __getattr__(name):
    # Each framework is imported when it is used (PEP 562).
    if name == 'SessionInterface':
        globals()[name] = _flask()
    elif name in ('SessionStore', 'SessionMiddleware'):
        globals().update(zip(('SessionStore', 'SessionMiddleware'), _django()))
    else:
        raise AttributeError('module %r has no attribute %r' % (__name__, name))
    return globals()[name]

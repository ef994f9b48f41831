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


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path, timeout):
        super().__init__('localhost', timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _fetch(url):
    """Returns the session's data, which the session API has behind url, as JSON.

    Errors do not have the URL in them, which is a secret.
    """
    parts = re.fullmatch(r'http(\+unix)?://([^/]+)(/[\w-]+)', url)
    if not parts:
        raise RuntimeError('X-Session-Api is no URL of a session API')
    unix, host, path = parts.groups()
    connection = _UnixConnection(unquote(host), 30) if unix else http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request('GET', path)
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RuntimeError('the session API does not answer: %s' % error) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError('the session API answers GET with %d: %s' % (answer.status, body.get('error')))
    return _dumps(body['data'])


class Visit:
    """The session of one request: what Caddy says of it, and what the response
    is going to ask for.

    environ is a WSGI environment, or whatever else has the request's headers
    under their names in CGI. dumps makes JSON of session data.
    """

    _warned = False

    def __init__(self, environ, required=False, dumps=json.dumps):
        self.id = environ.get('HTTP_X_SESSION_ID')
        self.new_id = environ.get('HTTP_X_SESSION_NEW_ID')
        self.expires = environ.get('HTTP_X_SESSION_EXPIRES')
        self.begins = False  # even without data
        self._data = environ.get('HTTP_X_SESSION_DATA')
        self.version = environ.get('HTTP_X_SESSION_VERSION')
        self._api = environ.get('HTTP_X_SESSION_API')
        self._dumps = dumps
        self._ended = None  # 'clear' or 'destroy'
        self._controls = {}
        self._sent = None
        self.absent = self.id is None and self.new_id is None
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
        if self._data is None and self._api is not None:
            self._data = _fetch(self._api)  # which headers do not hold
        if self._data is None:
            raise RuntimeError(
                'the request has X-Session-Id but no X-Session-Data: the site\'s session directive has forward lines, '
                'or request_headers without data'
            )
        return self._data

    @property
    def version_or_text(self):
        """What changes with the data, without fetching them."""
        return self.version if self._data is None and self._api and self.version else self.text

    @property
    def left(self):
        """How many seconds the session lasts unless it is used again, or None."""
        return int(self.expires) - int(time.time()) if self.expires and not self._ended else None

    @property
    def destroyed(self):
        return self._ended == 'destroy'

    def clear(self):
        """Asks for another session in place of this one, without its data."""
        self._ended = self._ended or self.id and 'clear'

    def destroy(self):
        self._ended = self.id and 'destroy'

    def ask(self, control):
        """Adds a directive of X-Session-Control, in place of one of the same name."""
        self._controls[control.partition('=')[0]] = control

    def plain(self, data):
        return _plain(data, self._dumps)

    def headers(self, after, lasts=lambda data: 0, refresh=False):
        """Returns the response headers that make the session what after is: plain
        JSON, or None if nobody has looked at the session.

        lasts tells, of data, the max-age in seconds that a session with it asks
        for, 0 for none. Caddy is told with every change, and with refresh also
        when a tenth of that time has passed.
        """
        self._sent = after
        if self.absent:
            return []
        if self.destroyed and not after:
            return [('X-Session-Control', 'destroy')]
        before = {} if after is None and not refresh else _loads(self.text)
        after = before if after is None else after
        patch, put = _patch(before, after)
        if self.id is None and not (self.begins or patch or put):
            return []
        controls = ['clear'] if self._ended else []
        controls += self._controls.values()
        seconds = lasts(after)
        if seconds:
            if patch or put or refresh and self.left is not None and self.left < 0.9 * seconds:
                controls.append('max-age=%d' % seconds)
        elif self.id is not None and lasts(before):
            controls.append('max-age=0')
        headers = []
        if controls:
            headers.append(('X-Session-Control', ', '.join(controls)))
        if put:
            headers.append(('X-Session-Put', _dumps(put)))
        if patch or self.id is None and not put:
            headers.append(('X-Session-Set', _dumps(patch)))
        return headers

    def closed(self, data):
        """Logs what has changed in data since headers, which is lost."""
        try:
            patch, put = _patch(_loads(self.text) if self._sent is None else self._sent, self.plain(data))
            lost = ['session[%r]' % key for key in (*patch, *put)]
        except TypeError as error:
            lost = [str(error)]
        for what in lost:
            _log.error('%s was changed after the response had begun: the change is lost', what)


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
        return self._visit.id is None

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
    change it until then.
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
        raise StopIteration

    def close(self):
        try:
            if hasattr(self._body, 'close'):
                self._body.close()
        finally:
            if self._write and self._session._loaded is not None:
                self._visit.closed(self._session._loaded)


# Flask


def _flask():
    from flask import sessions

    class FlaskSession(sessions.SecureCookieSession):
        """``flask.session``. ``sid`` is the session's id, which is no secret, or None."""

        def __init__(self, data, visit, had_tags):
            super().__init__(data)
            self.accessed = False
            self.new = visit.id is None
            self.visit = visit
            self.had_tags = had_tags

        @property
        def sid(self):
            return self.visit.id

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
            data = _loads(visit.text)
            tagged = data.pop('_python', None)
            for key, value in (tagged or {}).items():
                # If others have stored the key since, theirs is newer.
                data.setdefault(key, self.serializer.loads(json.dumps(value)))
            return self.session_class(data, visit, tagged is not None)

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

        def save_session(self, app, session, response):
            def lasts(data):
                return max(1, int(app.permanent_session_lifetime.total_seconds())) if data.get('_permanent') else 0

            visit = session.visit
            after = visit.plain(self._encode(session))
            for name, value in visit.headers(after, lasts, app.config['SESSION_REFRESH_EACH_REQUEST']):
                response.headers.add(name, value)
            if session.accessed:
                response.vary.add('Cookie')
            response.call_on_close(lambda: visit.closed(self._encode(session)))

        def regenerate(self, session):
            """Gives the browser's cookie another secret, as Flask-Session's method of
            this name does. Signing in does so by itself."""
            session.visit.ask('renew')

    return SessionInterface


# Django


def _django():
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

        def exists(self, session_key):
            return self.visit is not None and session_key is not None and session_key == self.visit.id

        def create(self):
            self._visit().clear()
            self._session_key = None
            self.save(must_create=True)
            self.modified = True

        def save(self, must_create=False):
            visit = self._visit()
            if visit.destroyed:
                raise UpdateError
            self._saved = visit.plain(self._get_session(no_load=must_create))
            visit.begins = True
            if self._session_key is None:
                self._session_key = visit.new_id

        def delete(self, session_key=None):
            if session_key is None or session_key == self.session_key:
                if self.visit is not None:
                    self.visit.destroy()
            else:
                raise RuntimeError('only the session of the request can be deleted')

        def flush(self):
            self.clear()
            if self.visit is not None:
                self.visit.clear()
            self._saved = self._session_key = None

        def cycle_key(self):
            self._session
            if self.visit is None:
                return
            self.visit.ask('renew')
            if self._session_key is None:
                self._session_key = self.visit.new_id
                self.visit.begins = True
            self.modified = True

        def get_session_cookie_age(self):
            left = self.visit and self.visit.left
            return settings.SESSION_COOKIE_AGE if left is None else left

        @classmethod
        def clear_expired(cls):
            """Does nothing: Caddy removes what has expired."""

        # Nothing here waits for anything.

        async def aload(self):
            return self.load()

        async def aexists(self, session_key):
            return self.exists(session_key)

        async def acreate(self):
            self.create()

        async def asave(self, must_create=False):
            self.save(must_create)

        async def adelete(self, session_key=None):
            self.delete(session_key)

        async def aflush(self):
            self.flush()

        async def acycle_key(self):
            self.cycle_key()

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
            return self._visit().headers(self._saved, self._lasts, settings.SESSION_SAVE_EVERY_REQUEST)

        def _closed(self):
            if hasattr(self, '_session_cache'):
                self.visit.closed(self._session_cache)

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
            if not unused and response.status_code < 500:
                try:
                    session.save()
                except UpdateError:
                    raise SessionInterrupted('The request\'s session was deleted before the request completed.') from None
            for name, value in session._headers():
                # Django's caches would have the change done again, to others.
                patch_cache_control(response, private=True)
                if name == 'X-Session-Control' and name in response:
                    value = '%s, %s' % (response[name], value)
                response[name] = value
            if response.status_code < 500 and not session.visit.destroyed:
                close = request.close

                def closed():
                    session._closed()
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

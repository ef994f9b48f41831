"""Tests of what all frameworks share, through the WSGI middleware."""

import json
import os
import sys
import unittest
from unittest import mock
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import caddy_session
from proxy import Proxy

VECTORS = os.path.join(os.path.dirname(__file__), '..', 'vectors.json')


def request(change, proxy=None, chunks=(b'body',), required=False):
    """Has an application that calls change with its session answer a request, and
    returns its body."""
    proxy = proxy or Proxy()

    def application(environ, start_response):
        change(environ['caddy.session'])
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return list(chunks)

    return respond(application, proxy, required)


def respond(application, proxy, required=False):
    environ = dict(proxy.environ(), QUERY_STRING='')
    setup_testing_defaults(environ)
    begun = []

    def start_response(status, headers, exc_info=None):
        begun.append(status)
        proxy.obey(headers)
        return written.append

    written = []
    # Both sides are held to PEP 3333.
    response = validator(caddy_session.WSGIMiddleware(validator(application), required))(environ, start_response)
    try:
        written += response
    finally:
        response.close()
    status, = begun
    return status, b''.join(written)


class TestVectors(unittest.TestCase):
    def test_vectors(self):
        with open(VECTORS) as file:
            vectors = json.load(file)
        self.assertGreater(len(vectors), 50)
        for vector in vectors:
            with self.subTest(vector['name']):
                proxy = Proxy(vector['before'])

                def change(session):
                    if vector.get('control') == 'clear':
                        session.clear()
                    for key in set(session) - set(vector['after']):
                        del session[key]
                    session.update(vector['after'])

                request(change, proxy)
                want = {name.capitalize(): vector[name] for name in ('set', 'put', 'control') if name in vector}
                self.assertEqual(as_json(proxy.sent), as_json(want))
                # And Caddy makes of it what the application has.
                self.assertTrue(caddy_session._same(proxy.data, vector['after']), proxy.data)


def as_json(value):
    """Returns a text that tells 1 from true, as == does not."""
    return json.dumps(value, sort_keys=True)


class TestSession(unittest.TestCase):
    def test_unused(self):
        """A session that is not used is not read, so what it has does not matter."""
        with mock.patch('caddy_session._loads', side_effect=AssertionError):
            for proxy in (Proxy(), Proxy({'a': 1})):
                request(lambda session: None, proxy)
                self.assertEqual(proxy.sent, {})

    def test_mapping(self):
        proxy = Proxy({'a': 1, 'nested': {'list': [1]}})

        def change(session):
            self.assertEqual(dict(session), proxy.data)
            self.assertEqual(len(session), 2)
            self.assertEqual((session.id, session.new), (proxy.id, False))
            session['nested']['list'].append(2)
            session.setdefault('b', 'new')
            self.assertEqual(session.pop('a'), 1)

        request(change, proxy)
        self.assertEqual(proxy.data, {'b': 'new', 'nested': {'list': [1, 2]}})

    def test_begins(self):
        proxy = Proxy()

        def change(session):
            self.assertEqual((session.id, session.new, dict(session)), (None, True, {}))
            session['a'] = 1

        request(change, proxy)
        self.assertEqual((proxy.sent, proxy.data), ({'Set': {'a': 1}}, {'a': 1}))

    def test_controls(self):
        for change, want in (
            (lambda session: session.renew(), {'Control': 'renew'}),
            (lambda session: session.max_age(60), {'Control': 'max-age=60'}),
            (lambda session: (session.max_age(60), session.max_age(0)), {'Control': 'max-age=0'}),
            (lambda session: (session.revoke_others(), session.clear()), {'Control': 'clear, revoke-others'}),
            (lambda session: session.destroy(), {'Control': 'destroy'}),
            (lambda session: (session.destroy(), session.update(b=1)), {'Control': 'clear', 'Set': {'b': 1}}),
            (lambda session: (session.update(b=1), session.destroy()), {'Control': 'destroy'}),
        ):
            proxy = Proxy({'a': 1})
            request(change, proxy)
            self.assertEqual(proxy.sent, want)

    def test_controls_without_session(self):
        proxy = Proxy()
        request(lambda session: (session.renew(), session.max_age(60), session.clear(), session.destroy()), proxy)
        self.assertEqual(proxy.sent, {})
        request(lambda session: (session.max_age(60), session.update(user='alice')), proxy)
        self.assertEqual(proxy.sent, {'Control': 'max-age=60', 'Set': {'user': 'alice'}})

    def test_what_json_has_not(self):
        cycle = {}
        cycle['self'] = cycle
        deep = []
        for _ in range(100000):
            deep = [deep]
        for value, path, what in (
            ({'when': [1, {2}]}, "session['key']['when'][1]: ", 'type set'),
            (object(), "session['key']: ", 'type object'),
            ({'n': float('nan')}, "session['key']['n']: ", 'NaN'),
            ([float('-inf')], "session['key'][0]: ", '-Infinity'),
            ({(1, 2): 3}, "session['key']: ", 'tuple'),
            (cycle, "session['key']['self']", 'Circular'),
            (deep, "session['key'][0]", 'recursion'),
        ):
            proxy = Proxy({'a': 1})
            with self.assertRaises(TypeError) as raised:
                request(lambda session: session.update(a=2, key=value), proxy)
            self.assertTrue(str(raised.exception).startswith(path), raised.exception)
            self.assertIn(what, str(raised.exception))
            self.assertEqual(proxy.data, {'a': 1})
        del deep

    def test_data_is_missing(self):
        """A site that forwards single keys would have everything else overwritten unseen."""
        proxy = Proxy({'a': 1})
        environ = proxy.environ()
        del environ['HTTP_X_SESSION_DATA']
        proxy.environ = lambda: environ
        with self.assertRaisesRegex(RuntimeError, 'X-Session-Data'):
            request(lambda session: session.get('a'), proxy)


class TestWithoutCaddy(unittest.TestCase):
    def setUp(self):
        self.proxy = Proxy()
        self.proxy.environ = dict
        caddy_session.Visit._warned = False
        self.addCleanup(setattr, caddy_session.Visit, '_warned', False)

    def test_not_kept(self):
        def change(session):
            session['a'] = 1
            self.assertEqual(session['a'], 1)

        with self.assertLogs('caddy_session', 'WARNING') as logs:
            request(change, self.proxy)
            request(change, self.proxy)
        self.assertEqual(self.proxy.sent, {})
        self.assertEqual(len(logs.output), 1)
        self.assertIn('X-Session-New-Id', logs.output[0])

    def test_required(self):
        with self.assertRaisesRegex(RuntimeError, 'X-Session-New-Id'):
            request(lambda session: None, self.proxy, required=True)


class TestResponse(unittest.TestCase):
    def test_generator(self):
        """A generator may change its session until it yields something."""
        proxy = Proxy()

        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b''
            environ['caddy.session']['early'] = 1
            yield b'one'
            environ['caddy.session']['late'] = {'a': 1}
            yield b'two'

        with self.assertLogs('caddy_session', 'ERROR') as logs:
            status, body = respond(application, proxy)
        self.assertEqual((status, body), ('200 OK', b'onetwo'))
        self.assertEqual(proxy.sent, {'Set': {'early': 1}})
        self.assertEqual(len(logs.output), 1)
        self.assertIn("session['late']", logs.output[0])

    def test_late_nested_and_first_use(self):
        for data in ({'nested': {'n': 1}}, {'nested': {}}):
            proxy = Proxy(data)

            def application(environ, start_response):
                start_response('200 OK', [('Content-Type', 'text/plain')])
                yield b'one'
                environ['caddy.session']['nested']['n'] = object()

            with self.assertLogs('caddy_session', 'ERROR') as logs:
                respond(application, proxy)
            self.assertIn("session['nested']['n']", logs.output[0])
            self.assertEqual(proxy.sent, {})

    def test_empty_body(self):
        proxy = Proxy()
        self.assertEqual(request(lambda session: session.update(a=1), proxy, chunks=()), ('200 OK', b''))
        self.assertEqual(proxy.data, {'a': 1})

    def test_write(self):
        """The write callable of start_response sends the head."""
        proxy = Proxy()

        def application(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain')])
            environ['caddy.session']['a'] = 1
            write(b'one')
            return [b'two']

        self.assertEqual(respond(application, proxy), ('200 OK', b'onetwo'))
        self.assertEqual(proxy.data, {'a': 1})

    def test_error_takes_the_place_of_a_head(self):
        proxy = Proxy()

        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            try:
                raise ValueError
            except ValueError:
                start_response('500 Oops', [('Content-Type', 'text/plain')], sys.exc_info())
            return [b'oops']

        self.assertEqual(respond(application, proxy), ('500 Oops', b'oops'))

    def test_error_after_the_head(self):
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'one'
            try:
                raise ValueError('late')
            except ValueError:
                start_response('500 Oops', [('Content-Type', 'text/plain')], sys.exc_info())

        with self.assertRaisesRegex(ValueError, 'late'):
            respond(application, Proxy())

    def test_closes(self):
        closed = []

        class Body(list):
            def close(self):
                closed.append(True)

        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return Body([b'x'])

        respond(application, Proxy())
        self.assertEqual(closed, [True])


if __name__ == '__main__':
    unittest.main()

"""Tests of Flask's session interface."""

import datetime
import io
import os
import time
import unittest
import uuid
from unittest import mock

try:
    import flask
    from markupsafe import Markup
except ImportError:
    if os.environ.get('CI'):
        raise
    raise unittest.SkipTest('not installed: Flask')

import caddy_session
from proxy import Proxy


class FlaskTest(unittest.TestCase):
    def setUp(self):
        self.app = flask.Flask(__name__)
        self.app.testing = True
        self.app.session_interface = caddy_session.SessionInterface()

    def visit(self, proxy, view, read=True):
        """Has a view answer a request with the proxy's session, and returns its body."""
        self.app.view_functions['view'] = view
        if 'view' not in {rule.endpoint for rule in self.app.url_map.iter_rules()}:
            self.app.add_url_rule('/', 'view', view)
        with self.app.test_client(use_cookies=False) as client:
            self.response = client.get('/', environ_overrides=proxy.environ())
            proxy.obey(self.response.headers)
            if read:
                self.response.get_data()
            self.response.close()
        self.assertNotIn('Set-Cookie', self.response.headers)
        return self.response.get_data().decode() if read else None

    def change(self, proxy, change):
        def view():
            change(flask.session)
            return 'changed'

        self.assertEqual(self.visit(proxy, view), 'changed')


class TestFlask(FlaskTest):
    def test_begins_and_reads(self):
        proxy = Proxy()

        def first(session):
            self.assertEqual((session.sid, session.new, dict(session)), (None, True, {}))
            session['n'] = 1
            self.assertTrue(session.modified)

        self.change(proxy, first)
        self.assertEqual(proxy.sent, {'Set': {'n': 1}})

        def second(session):
            self.assertEqual((session.sid, session.new, session['n']), (proxy.id, False, 1))
            self.assertFalse(session.modified)
            self.assertTrue(session.accessed)

        self.change(proxy, second)
        self.assertEqual(proxy.sent, {})
        self.assertIn('Cookie', self.response.headers['Vary'])

    def test_no_secret_key(self):
        self.assertIsNone(self.app.secret_key)
        self.change(Proxy(), lambda session: session.update(a=1))

    def test_unused(self):
        proxy = Proxy({'a': 1})
        self.visit(proxy, lambda: 'x')
        self.assertEqual(proxy.sent, {})
        self.assertNotIn('Vary', self.response.headers)

    def test_nested_change_without_modified(self):
        proxy = Proxy({'cart': {'a': 1, 'b': [1]}})
        self.change(proxy, lambda session: session['cart']['b'].append(2))
        self.assertEqual(proxy.sent, {'Set': {'cart': {'b': [1, 2]}}})
        self.change(proxy, lambda session: [cart.pop('a') for cart in session.values()])
        self.assertEqual(proxy.sent, {'Set': {'cart': {'a': None}}})

    def test_modified_alone(self):
        proxy = Proxy({'a': 1})
        self.change(proxy, lambda session: setattr(session, 'modified', True))
        self.assertEqual(proxy.sent, {})

    def test_pop_and_clear(self):
        proxy = Proxy({'user': 'alice', 'a': 1})
        self.change(proxy, lambda session: session.pop('user'))
        self.assertEqual(proxy.sent, {'Set': {'user': None}})
        self.change(proxy, lambda session: session.clear())
        self.assertEqual((proxy.sent, proxy.data), ({'Control': 'clear'}, {}))
        before = proxy.id
        self.change(proxy, lambda session: (session.clear(), session.update(user='bob')))
        self.assertEqual(proxy.sent, {'Control': 'clear', 'Set': {'user': 'bob'}})
        self.assertNotEqual(proxy.id, before)

    def test_regenerate(self):
        proxy = Proxy({'a': 1})
        self.change(proxy, lambda session: self.app.session_interface.regenerate(session))
        self.assertEqual((proxy.sent, proxy.data), ({'Control': 'renew'}, {'a': 1}))

    def test_flash(self):
        proxy = Proxy()

        def view():
            flask.flash('saved')
            flask.flash(Markup('<b>really</b>'), 'bold')
            return 'x'

        self.visit(proxy, view)
        page = (
            '{% for category, message in get_flashed_messages(with_categories=true) %}{{ category }}: {{ message }};{% endfor %}'
        )
        self.assertEqual(self.visit(proxy, lambda: flask.render_template_string(page)), 'message: saved;bold: <b>really</b>;')
        self.assertEqual(self.visit(proxy, lambda: flask.render_template_string(page)), '')
        # A parallel request's message would be under the same key.
        self.assertEqual((proxy.sent, proxy.data), ({}, {'_python': {}}))


class TestPermanent(FlaskTest):
    def test_permanent(self):
        self.app.permanent_session_lifetime = datetime.timedelta(hours=1)
        proxy = Proxy()
        self.change(proxy, lambda session: setattr(session, 'permanent', True))
        self.assertEqual(proxy.sent, {'Control': 'max-age=3600', 'Set': {'_permanent': True}})
        self.change(proxy, lambda session: session.update(a=1))
        self.assertEqual(proxy.sent, {'Control': 'max-age=3600', 'Set': {'a': 1}})
        self.change(proxy, lambda session: setattr(session, 'permanent', False))
        self.assertEqual(proxy.sent, {'Control': 'max-age=0', 'Set': {'_permanent': False}})
        self.change(proxy, lambda session: session.update(a=2))
        self.assertEqual(proxy.sent, {'Set': {'a': 2}})

    def test_refresh_each_request(self):
        """It is refreshed when a tenth of the time has passed, not with each request."""
        self.app.permanent_session_lifetime = datetime.timedelta(hours=1)
        for refresh, left, want in ((True, 3600, {}), (True, 3300, {}), (True, 3200, {'Control': 'max-age=3600'}), (False, 60, {})):
            self.app.config['SESSION_REFRESH_EACH_REQUEST'] = refresh
            proxy = Proxy({'_permanent': True}, HTTP_X_SESSION_EXPIRES=str(int(time.time()) + left))
            self.visit(proxy, lambda: 'x')
            self.assertEqual(proxy.sent, want, (refresh, left))


class TestValues(FlaskTest):
    values = {
        'tuple': (1, ('a', b'b')),
        'bytes': b'\x00\xff',
        'markup': Markup('<b>'),
        'uuid': uuid.UUID(int=7),
        'datetime': datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.timezone.utc),
        'nested': {'list': [(1, 2)]},
        ' t': ('a key like a tag',),
    }

    def test_what_json_has_not(self):
        proxy = Proxy()
        self.change(proxy, lambda session: session.update(self.values, plain={'a': [1, None, 'x']}))
        self.assertEqual(set(proxy.data), {'_python', 'plain'})
        self.assertEqual(proxy.data['plain'], {'a': [1, None, 'x']})

        def check(session):
            self.assertEqual({key: session[key] for key in self.values}, self.values)
            self.assertEqual(repr(session['markup']), repr(Markup('<b>')))
            self.assertEqual(session['plain'], {'a': [1, None, 'x']})

        self.change(proxy, check)
        self.assertEqual(proxy.sent, {})
        self.change(proxy, lambda session: session.update(bytes='text', nested={'list': [(1, 3)]}))
        self.assertEqual(proxy.sent, {'Set': {'_python': {'bytes': None, 'nested': {'list': [{' t': [1, 3]}]}}, 'bytes': 'text'}})

    def test_tags_of_others_are_data(self):
        """What another program has stored may be a visitor's: no tag makes HTML of it."""
        stored = {'name': {' m': '<script>'}, ' t': [1], 'list': [{' b': 'AA=='}]}
        proxy = Proxy(dict(stored))
        self.change(proxy, lambda session: self.assertEqual(dict(session), stored))
        self.assertEqual(proxy.data, stored)

    def test_others_have_stored_since(self):
        proxy = Proxy({'a': 'theirs', '_python': {'a': {' t': [1]}, 'b': {' t': [2]}}})
        self.change(proxy, lambda session: self.assertEqual(dict(session), {'a': 'theirs', 'b': (2,)}))

    def test_error_names_the_key(self):
        proxy = Proxy({'a': 1})
        with self.assertRaisesRegex(TypeError, r"session\['cart'\]\['x'\]: .*type set"):
            self.change(proxy, lambda session: session.update(cart={'x': {1}}))
        cycle = []
        cycle.append(cycle)
        with self.assertRaisesRegex(TypeError, r"session\['cart'\]: .*list"):
            self.change(proxy, lambda session: session.update(cart=cycle))
        self.assertEqual(proxy.data, {'a': 1})

    def test_json_provider(self):
        """What the application's JSON provider makes text of is text, as in Flask's cookies."""
        import decimal

        proxy = Proxy()
        self.change(proxy, lambda session: session.update(price=decimal.Decimal('1.10')))
        self.assertEqual(proxy.data, {'price': '1.10'})


class TestStreaming(FlaskTest):
    def test_late_change(self):
        proxy = Proxy({'nested': {}})

        def view():
            def stream():
                yield 'one'
                flask.session['nested']['late'] = 1
                flask.session['n'] = 2
                yield 'two'

            flask.session['early'] = 1
            return flask.Response(flask.stream_with_context(stream()))

        with self.assertLogs('caddy_session', 'ERROR') as logs:
            self.assertEqual(self.visit(proxy, view), 'onetwo')
        self.assertEqual(proxy.data, {'nested': {}, 'early': 1})
        self.assertEqual(len(logs.output), 2)
        for key in ('nested', 'n'):
            self.assertIn("session['%s']" % key, ''.join(logs.output))


class TestAPI(FlaskTest):
    def proxy(self, data=None):
        proxy = Proxy(data)
        proxy.serve(self)
        return proxy

    def stream(self, proxy, *steps):
        def view():
            def stream():
                for step in steps:
                    yield '.'
                    step(flask.session)

            flask.session['early'] = 1
            return flask.Response(flask.stream_with_context(stream()))

        with mock.patch('caddy_session._log.error') as error:
            self.visit(proxy, view)
        self.assertEqual(error.mock_calls, [])

    def test_save(self):
        proxy = self.proxy()
        self.app.permanent_session_lifetime = datetime.timedelta(hours=1)

        def change(session):
            session['a'] = 1
            session['pair'] = (1, 2)
            session.permanent = True
            session.save()
            self.assertEqual(proxy.data, {'a': 1, '_permanent': True, '_python': {'pair': {' t': [1, 2]}}})
            self.assertEqual((session.sid, session.new), (proxy.id, True))
            session['b'] = 2

        self.change(proxy, change)
        self.assertEqual([request[:2] for request in proxy.asked], [('PATCH', ''), ('POST', '/max-age?seconds=3600')])
        self.assertEqual(proxy.sent, {'Control': 'max-age=3600', 'Set': {'b': 2}})

    def test_save_without_api(self):
        proxy = Proxy()
        self.change(proxy, lambda session: (session.update(a=1), session.save()))
        self.assertEqual(proxy.data, {'a': 1})

    def test_late_change(self):
        proxy = self.proxy({'nested': {}})
        self.stream(proxy, lambda session: session['nested'].update(late=1), lambda session: session.update(pair=(1, 2)))
        self.assertEqual(proxy.sent, {'Set': {'early': 1}})
        self.assertEqual([request[:2] for request in proxy.asked], [('PATCH', '?begun')])
        self.assertEqual(proxy.data, {'early': 1, 'nested': {'late': 1}, '_python': {'pair': {' t': [1, 2]}}})

    def test_reload(self):
        proxy = self.proxy({'a': 1, 'gone': 1})

        def change(session):
            proxy._change(patch={'gone': None, '_python': {'pair': {' t': [1, 2]}}})
            session.reload()
            self.assertEqual(dict(session), {'a': 1, 'pair': (1, 2)})

        self.change(proxy, change)
        self.assertEqual((proxy.sent, proxy.data['_python']), ({}, {'pair': {' t': [1, 2]}}))

    def test_late_change_of_a_permanent_session(self):
        """The time goes on with the next request, since it takes another cookie."""
        proxy = self.proxy({'_permanent': True})
        self.stream(proxy, lambda session: (session.update(late=1), session.save()))
        self.assertIn('max-age', proxy.sent['Control'])
        self.assertEqual(proxy.asked, [('PATCH', '?begun', {'late': 1})])

    def test_save_in_a_stream(self):
        proxy = self.proxy({'n': 0})

        def save(session):
            session['n'] += 1
            session.save()
            self.assertEqual(proxy.data['n'], session['n'])

        self.stream(proxy, save, save)
        self.assertEqual(proxy.asked, [('PATCH', '?begun', {'n': 1}), ('PATCH', '?begun', {'n': 2})])

    def test_late_clear(self):
        proxy = self.proxy({'a': 1})

        def clear(session):
            with self.assertRaisesRegex(caddy_session.SessionAPIError, 'too late for a cookie'):
                session.clear()
            self.assertEqual(session['a'], 1)

        self.stream(proxy, clear)
        self.assertEqual(proxy.data, {'a': 1, 'early': 1})

    def test_closes(self):
        """What a response has to close is closed, also where nothing is read of it."""
        for read in (True, False):
            body = io.BytesIO(b'body')
            self.visit(self.proxy({'a': 1}), lambda: flask.Response(body), read)
            self.assertTrue(body.closed)

    def test_large(self):
        proxy = self.proxy({'large': 'x' * (1 << 20)})
        proxy.exposed = False
        self.change(proxy, lambda session: session.update(other=session['large'][::-1]))
        self.assertEqual((proxy.sent, proxy.data), ({}, {'large': 'x' * (1 << 20), 'other': 'x' * (1 << 20)}))

    def test_errors(self):
        proxy = self.proxy({'a': 1})
        proxy.refusals['PATCH', ''] = 413, 'the body has more than max_data'
        with self.assertRaisesRegex(caddy_session.SessionAPIError, 'PATCH / with 413: .*max_data'):
            self.change(proxy, lambda session: session.update(large='x' * (1 << 20)))
        self.assertEqual(proxy.data, {'a': 1})


class TestWithoutCaddy(FlaskTest):
    def test_not_kept(self):
        proxy = Proxy()
        proxy.environ = dict
        caddy_session.Visit._warned = False
        with self.assertLogs('caddy_session', 'WARNING'):
            self.change(proxy, lambda session: session.update(a=1))
        self.assertEqual(proxy.sent, {})

    def test_required(self):
        self.app.session_interface = caddy_session.SessionInterface(required=True)
        proxy = Proxy()
        proxy.environ = dict
        with self.assertRaisesRegex(RuntimeError, 'X-Session-New-Id'):
            self.change(proxy, lambda session: None)


if __name__ == '__main__':
    unittest.main()

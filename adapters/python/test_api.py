"""Tests of what the session API does, through the WSGI middleware."""

import json
import unittest
from unittest import mock

import caddy_session
from caddy_session import SessionAPIError
from proxy import Proxy
from test_wsgi import VECTORS, request, respond

MEBIBYTE = 'x' * (1 << 20)


class APITest(unittest.TestCase):
    def proxy(self, data=None, unix=False):
        proxy = Proxy(data)
        proxy.serve(self, unix)
        return proxy

    def quietly(self, function, *arguments):
        """Calls a function, which is to log nothing."""
        with mock.patch('caddy_session._log.error') as error:
            result = function(*arguments)
        self.assertEqual(error.mock_calls, [])
        return result

    def stream(self, proxy, *steps):
        """Has an application answer that calls each step with its session, and yields
        something after it. What the last one does comes after all bytes."""

        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            for step in steps[:-1]:
                step(environ['caddy.session'])
                yield b'.'
            steps[-1](environ['caddy.session'])

        respond(application, proxy)


def nothing(session):
    pass


class TestSave(APITest):
    def test_save(self):
        """What is saved is there before the response, which says only what is new since."""
        for unix in (False, True):
            proxy = self.proxy({'a': 1}, unix)

            def change(session):
                session['b'] = 2
                session.save()
                self.assertEqual(proxy.data, {'a': 1, 'b': 2})
                session.save()
                session['c'] = 3

            request(change, proxy)
            self.assertEqual(proxy.asked, [('PATCH', '', {'b': 2})])
            self.assertEqual((proxy.sent, proxy.data), ({'Set': {'c': 3}}, {'a': 1, 'b': 2, 'c': 3}))

    def test_vectors(self):
        with open(VECTORS) as file:
            vectors = json.load(file)
        proxy = self.proxy()
        for vector in vectors:
            with self.subTest(vector['name']):
                proxy.data, proxy.id = vector['before'], 'an-id-of-22-characters'

                def change(session):
                    if vector.get('control') == 'clear':
                        session.clear()
                    for key in set(session) - set(vector['after']):
                        del session[key]
                    session.update(vector['after'])
                    session.save()

                request(change, proxy)
                self.assertEqual(proxy.sent, {})
                self.assertEqual(bool(proxy.asked), any(name in vector for name in ('set', 'put', 'control')))
                self.assertTrue(caddy_session._same(proxy.data, vector['after']), proxy.data)

    def test_save_begins(self):
        for data in ({'a': 1}, {'a': None}):
            proxy = self.proxy()

            def change(session):
                session.save()
                self.assertEqual(proxy.asked, [])
                session.update(data)
                session.save()
                self.assertEqual((session.id, session.new), (proxy.id, True))

            request(change, proxy)
            self.assertEqual((proxy.sent, proxy.data), ({}, data))

    def test_without_api(self):
        proxy = Proxy({'a': 1})
        request(lambda session: (session.update(b=2), session.save(), session.update(c=3)), proxy)
        self.assertEqual(proxy.sent, {'Set': {'b': 2, 'c': 3}})

    def test_unused(self):
        proxy = self.proxy({'a': 1})
        request(nothing, proxy)
        request(lambda session: session['a'], proxy)
        self.assertEqual((proxy.asked, proxy.sent), ([], {}))

    def test_parallel_requests(self):
        """What others have put into the same object meanwhile is not lost, even where
        the whole object has to be put."""
        for value in (1, None):
            proxy = self.proxy({'cart': {'a': 1, 'gone': 1}, 'here': 1})

            def change(session):
                session['cart']['b'] = value
                del session['cart']['gone']
                proxy._change(patch={'cart': {'c': 1}, 'd': 1, 'here': None})
                session.save()

            request(change, proxy)
            self.assertEqual((proxy.sent, proxy.data), ({}, {'cart': {'a': 1, 'b': value, 'c': 1}, 'd': 1}))

    def test_others_come_between(self):
        """Nor what comes between reading and putting."""
        proxy = self.proxy({'cart': {}})
        answer, others = proxy._answer, iter('xy')

        def meanwhile(method, *request):
            result = answer(method, *request)
            if method == 'GET':
                proxy._change(patch={'cart': {key: 1 for key in (next(others, None),) if key}})
            return result

        proxy._answer = meanwhile

        def change(session):
            session['cart']['b'] = None
            with self.assertRaisesRegex(SessionAPIError, 'PUT / with 412'):
                session.save()  # as others never stop
            proxy._answer = answer
            session.save()

        request(change, proxy)
        self.assertEqual(proxy.data, {'cart': {'b': None, 'x': 1, 'y': 1}})

    def test_directives(self):
        for change, want in (
            (lambda session: (session.update(b=1), session.renew()), [('POST', '/renew', None), ('PATCH', '', {'b': 1})]),
            (lambda session: (session.max_age(60), session.update(b=1)), [('PATCH', '', {'b': 1}), ('POST', '/max-age?seconds=60', None)]),
            (lambda session: session.revoke_others(), [('DELETE', '/sessions', None)]),
            (lambda session: (session.clear(), session.update(b=1)), [('POST', '/clear', None), ('PATCH', '', {'b': 1})]),
            (lambda session: session.destroy(), [('DELETE', '', None)]),
            (lambda session: (session.destroy(), session.update(b=1)), [('POST', '/clear', None), ('PATCH', '', {'b': 1})]),
        ):
            proxy = self.proxy({'a': 1})

            def change_and_save(session):
                change(session)
                session.save()
                self.assertEqual(session.id, proxy.id)

            request(change_and_save, proxy)
            self.assertEqual((proxy.asked, proxy.sent), (want, {}))

    def test_directives_without_session(self):
        proxy = self.proxy()
        request(lambda session: (session.renew(), session.max_age(60), session.revoke_others(), session.save()), proxy)
        self.assertEqual((proxy.asked, proxy.sent), ([], {}))
        proxy.refusals['DELETE', '/sessions'] = 404, 'nobody is signed in'
        request(lambda session: (session.revoke_others(), session.update(a=1), session.save()), proxy)
        self.assertEqual((proxy.data, proxy.sent), ({'a': 1}, {}))


class TestReload(APITest):
    def test_reload(self):
        """What others have changed is there, and not undone."""
        proxy = self.proxy({'a': 1, 'b': 1})

        def change(session):
            session['lost'] = 1
            proxy._change(patch={'a': 2, 'b': None})
            session.reload()
            self.assertEqual(dict(session), {'a': 2})
            session['c'] = 3

        request(change, proxy)
        self.assertEqual((proxy.sent, proxy.data), ({'Set': {'c': 3}}, {'a': 2, 'c': 3}))

    def test_in_a_stream(self):
        for before in ({'a': 1}, None):
            proxy = self.proxy(before)

            def late(session):
                proxy._change(patch={'theirs': 1})
                session.reload()
                self.assertEqual(dict(session), {'a': 2, 'theirs': 1})
                session['b'] = 3

            self.quietly(self.stream, proxy, lambda session: session.update(a=2), late, nothing)
            self.assertEqual(proxy.data, {'a': 2, 'b': 3, 'theirs': 1})

    def test_before_the_first_byte(self):
        """Of a stream, what the head says is as good as saved."""
        for n in (0, 1):
            proxy = self.proxy({'n': 0})
            visit = caddy_session.Visit(proxy.environ())
            session = caddy_session.Session(visit)
            session['n'] = n
            head = visit.headers(dict(session))
            proxy._change(patch={'theirs': 1})
            session.reload()
            self.assertEqual(dict(session), {'n': 1} if n else {'n': 0, 'theirs': 1})
            proxy.obey(head)
            self.quietly(visit.finish, lambda: dict(session))
            self.assertEqual(proxy.data, {'n': n, 'theirs': 1})

    def test_after_directives(self):
        for change, want in ((lambda s: s.clear(), {}), (lambda s: s.destroy(), {}), (lambda s: s.renew(), {'a': 1})):
            proxy = self.proxy({'a': 1})
            request(lambda session: (change(session), session.update(b=2), session.reload(), self.assertEqual(dict(session), want)), proxy)

    def test_without_api(self):
        proxy = Proxy({'a': 1})
        request(lambda session: (session.update(a=2), session.reload(), self.assertEqual(dict(session), {'a': 1})), proxy)
        self.assertEqual(proxy.sent, {})
        request(lambda session: (session.update(a=2), session.reload(), self.assertEqual(dict(session), {})), Proxy())


class TestLarge(APITest):
    def test_large(self):
        """1 MiB is read and written, and paid for by who asks only."""
        proxy = self.proxy({'large': MEBIBYTE})
        proxy.exposed = False
        request(nothing, proxy)
        self.assertEqual(proxy.asked, [])
        request(lambda session: session.update(other=session['large'][::-1]), proxy)
        self.assertEqual(proxy.sent, {})
        self.assertEqual([method for method, _, _ in proxy.asked], ['GET', 'PATCH'])
        self.assertEqual(proxy.data, {'large': MEBIBYTE, 'other': MEBIBYTE})
        request(lambda session: (session.pop('other'), session.max_age(60)), proxy)
        self.assertEqual(proxy.sent, {'Control': 'max-age=60', 'Set': {'other': None}})

    def test_large_begins(self):
        proxy = self.proxy()
        request(lambda session: session.update(large=MEBIBYTE), proxy)
        self.assertEqual((proxy.sent, proxy.data), ({}, {'large': MEBIBYTE}))

    def test_large_fails(self):
        proxy = self.proxy({'a': 1})
        proxy.refusals['PATCH', ''] = 422, 'the session has more than max_data'
        with self.assertRaisesRegex(SessionAPIError, 'max_data'):
            request(lambda session: session.update(large=MEBIBYTE), proxy)
        self.assertFalse(proxy.begun)


class TestStream(APITest):
    def test_late_change(self):
        """What changes after the first byte is saved before the response is complete."""
        proxy = self.proxy({'nested': {'a': 1}})
        self.quietly(self.stream, proxy, nothing, lambda session: session['nested'].update(b=2), lambda session: session.update(c=3))
        self.assertEqual((proxy.sent, proxy.asked), ({}, [('PATCH', '', {'c': 3, 'nested': {'b': 2}})]))
        self.assertEqual(proxy.data, {'nested': {'a': 1, 'b': 2}, 'c': 3})

    def test_after_what_the_head_says(self):
        proxy = self.proxy()
        self.quietly(self.stream, proxy, lambda session: session.update(a=1), lambda session: session.update(a=2), nothing)
        self.assertEqual((proxy.sent, proxy.asked), ({'Set': {'a': 1}}, [('PATCH', '?begun', {'a': 2})]))
        self.assertEqual(proxy.data, {'a': 2})

    def test_save(self):
        proxy = self.proxy({'n': 0})

        def save(session):
            session['n'] += 1
            session.save()
            self.assertEqual(proxy.data, {'n': session['n']})

        self.quietly(self.stream, proxy, nothing, save, save, save)
        self.assertEqual(proxy.asked, [('PATCH', '', {'n': n}) for n in (1, 2, 3)])

    def test_save_before_the_first_byte(self):
        """Of a stream: it comes before the head, unless that says something, and then with the end."""
        for early in (False, True):
            proxy = self.proxy({'n': 0})

            visit = caddy_session.Visit(proxy.environ())
            session = caddy_session.Session(visit)

            def stream():
                session['n'] = 2
                session.save()
                self.assertEqual(proxy.data['n'], 0 if early else 2)
                yield b'.'
                session['m'] = 1

            # As Flask and Django do, the head is decided before the stream begins.
            session['n'] = int(early)
            head = visit.headers(dict(session))
            chunks = caddy_session._until(stream(), visit, lambda: visit.finish(lambda: dict(session)))
            next(chunks)
            proxy.obey(head)
            self.quietly(list, chunks)
            self.assertEqual(proxy.data, {'n': 2, 'm': 1})

    def test_before_the_end(self):
        """For Caddy the response may be complete before it is closed."""
        proxy = self.proxy({'a': 1})

        class Body:
            def __iter__(self):
                yield b'one'
                session['b'] = 2

            def close(self):
                session['c'] = 3

        def application(environ, start_response):
            nonlocal session
            session = environ['caddy.session']
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return Body()

        session = None
        for complete in (False, True):
            proxy.data, proxy.id = {'a': 1}, 'an-id-of-22-characters'
            response = caddy_session.WSGIMiddleware(application)(proxy.environ(), lambda status, headers: proxy.obey(headers) or bool)
            self.assertEqual(list(response), [b'one'])
            self.assertEqual(proxy.data, {'a': 1, 'b': 2})
            if complete:
                proxy.refusals['PATCH', ''] = 401, 'this opens no session'
                with self.assertLogs('caddy_session', 'ERROR') as logs:
                    response.close()
                self.assertEqual(len(logs.output), 1)
                self.assertRegex(logs.output[0], r"session\['c'\] .* the session API answers PATCH / with 401: this opens no session")
            else:
                self.quietly(response.close)
                self.assertEqual(proxy.data, {'a': 1, 'b': 2, 'c': 3})

    def test_too_late_to_begin(self):
        proxy = self.proxy()
        with self.assertLogs('caddy_session', 'ERROR') as logs:
            self.stream(proxy, nothing, lambda session: session.update(a=1, b=2), nothing)
        self.assertEqual((len(logs.output), proxy.id), (2, None))
        self.assertEqual(proxy.asked, [('PATCH', '?begun', {'a': 1, 'b': 2})])
        for key, line in zip('ab', logs.output):
            self.assertRegex(line, r"session\['%s'\] .* with 409: it is too late for a cookie" % key)

    def test_what_json_has_not(self):
        proxy = self.proxy({'a': 1})
        with self.assertLogs('caddy_session', 'ERROR') as logs:
            self.stream(proxy, nothing, lambda session: session.update(b={2}), nothing)
        self.assertEqual((len(logs.output), proxy.asked), (1, []))
        self.assertIn("session['b']", logs.output[0])

    def test_directives(self):
        """Those for which the browser would need another cookie raise an error, and do nothing."""
        for ask in (lambda s: s.clear(), lambda s: s.renew(), lambda s: s.max_age(60)):
            proxy = self.proxy({'a': 1})

            def late(session):
                with self.assertRaisesRegex(SessionAPIError, 'too late') as raised:
                    ask(session)
                self.assertEqual(raised.exception.status, 409)
                self.assertEqual(dict(session), {'a': 1})
                session['b'] = 2

            self.quietly(self.stream, proxy, nothing, late, nothing)
            self.assertEqual(proxy.data, {'a': 1, 'b': 2})
            self.assertRegex(proxy.asked[0][1], r'[?&]begun$')

    def test_end_in_a_stream(self):
        proxy = self.proxy({'a': 1})

        def end(session):
            session.revoke_others()
            session.destroy()
            self.assertEqual((proxy.id, dict(session), session.id), (None, {}, None))

        self.quietly(self.stream, proxy, nothing, end, nothing)
        self.assertEqual(proxy.asked, [('DELETE', '/sessions', None), ('DELETE', '', None)])

    def test_after_the_end_by_the_head(self):
        for change, want in ((lambda s: s.clear(), ({'Control': 'clear'}, {'b': 2})), (lambda s: s.destroy(), ({'Control': 'destroy'}, None))):
            proxy = self.proxy({'a': 1})
            late = lambda session: session.update(b=2)
            if want[1]:
                self.quietly(self.stream, proxy, change, late, nothing)
            else:
                with self.assertLogs('caddy_session', 'ERROR') as logs:
                    self.stream(proxy, change, late, nothing)
                self.assertIn("session['b']", logs.output[0])
            self.assertEqual((proxy.sent, proxy.data), want)


class TestErrors(APITest):
    def test_errors(self):
        """An error says what and why, and not the URL. The head of the response tries again."""
        for status in (401, 409, 410, 412, 413, 422, 503):
            proxy = self.proxy({'a': 1})
            proxy.refusals['PATCH', ''] = status, 'so it is'

            def change(session):
                session['b'] = 2
                with self.assertRaises(SessionAPIError) as raised:
                    session.save()
                self.assertEqual(str(raised.exception), 'the session API answers PATCH / with %d: so it is' % status)
                self.assertEqual(raised.exception.status, status)

            request(change, proxy)
            self.assertEqual((proxy.sent, proxy.data), ({'Set': {'b': 2}}, {'a': 1, 'b': 2}))

    def test_no_answer(self):
        for url in ('http://127.0.0.1:1/capability', 'http+unix://%2Fnowhere/capability', 'ftp://127.0.0.1/capability'):
            proxy = Proxy({'a': 1}, HTTP_X_SESSION_API=url)

            def change(session):
                session['b'] = 2
                with self.assertRaisesRegex(SessionAPIError, 'session API') as raised:
                    session.save()
                self.assertIsNone(raised.exception.status)
                self.assertNotIn('capability', str(raised.exception))

            request(change, proxy)
            self.assertEqual(proxy.data, {'a': 1, 'b': 2})


if __name__ == '__main__':
    unittest.main()

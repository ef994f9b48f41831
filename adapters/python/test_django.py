"""Tests of Django's session engine and middleware."""

import asyncio
import datetime
import os
import time
import unittest
from unittest import mock

try:
    import django
except ImportError:
    if os.environ.get('CI'):
        raise
    raise unittest.SkipTest('not installed: Django')

from django.conf import settings

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=['*'],
        CSRF_USE_SESSIONS=True,
        DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}},
        INSTALLED_APPS=['django.contrib.auth', 'django.contrib.contenttypes', 'django.contrib.messages'],
        LOGGING_CONFIG=None,
        MESSAGE_STORAGE='django.contrib.messages.storage.session.SessionStorage',
        MIDDLEWARE=[
            'caddy_session.SessionMiddleware',
            'django.middleware.csrf.CsrfViewMiddleware',
            'django.contrib.auth.middleware.AuthenticationMiddleware',
            'django.contrib.messages.middleware.MessageMiddleware',
        ],
        PASSWORD_HASHERS=['django.contrib.auth.hashers.MD5PasswordHasher'],
        ROOT_URLCONF='test_django',
        SECRET_KEY='x' * 50,
        SESSION_ENGINE='caddy_session',
        USE_TZ=True,
    )
    django.setup()

from django.contrib import auth, messages
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import UpdateError
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_cookie

import caddy_session
from proxy import Proxy

views = {}


def view(request):
    return views['view'](request)


async def async_view(request):
    return await views['view'](request)


@cache_page(60)
@vary_on_cookie
def cached(request):
    return HttpResponse('page of %s' % request.session.get('user'))


urlpatterns = [path('', view), path('async', async_view), path('cached', cached)]


class DjangoTest(unittest.TestCase):
    def visit(self, proxy, view, url='/', method='get', **extra):
        """Has a view answer a request with the proxy's session, and returns the response."""
        views['view'] = view
        client = Client(enforce_csrf_checks=True)
        response = getattr(client, method)(url, **proxy.environ(), **extra)
        proxy.obey(response.items())
        if response.streaming:
            self.body = b''.join(response)
            response.close()
        self.assertNotIn('sessionid', response.cookies)
        return response

    def change(self, proxy, change, status=200):
        def view(request):
            change(request.session)
            return HttpResponse('changed', status=status)

        response = self.visit(proxy, view)
        self.assertEqual(response.status_code, status)
        return response

    def async_change(self, proxy, change):
        async def view(request):
            await change(request.session)
            return HttpResponse('changed')

        views['view'] = view
        headers = {name[5:].replace('_', '-'): value for name, value in proxy.environ().items()}
        if django.VERSION >= (4, 2):
            headers = {'headers': headers}
        response = asyncio.run(AsyncClient().get('/async', **headers))
        self.assertEqual(response.status_code, 200)
        proxy.obey(response.items())


class TestSession(DjangoTest):
    def test_begins_and_reads(self):
        proxy = Proxy()

        def first(session):
            self.assertEqual((session.session_key, dict(session.items())), (None, {}))
            session['n'] = 1

        self.change(proxy, first)
        self.assertEqual(proxy.sent, {'Set': {'n': 1}})

        def second(session):
            self.assertEqual((session.session_key, session['n'], session.get('m', 5)), (proxy.id, 1, 5))
            self.assertFalse(session.modified)
            self.assertTrue(session.exists(session.session_key))

        response = self.change(proxy, second)
        self.assertEqual(proxy.sent, {})
        self.assertEqual(response['Vary'], 'Cookie')

    def test_unused(self):
        proxy = Proxy({'a': 1})
        with mock.patch('caddy_session._loads', side_effect=AssertionError), override_settings(CSRF_USE_SESSIONS=False):
            response = self.change(proxy, lambda session: None)
        self.assertEqual(proxy.sent, {})
        self.assertNotIn('Vary', response)

    def test_nested_change_without_modified(self):
        proxy = Proxy({'cart': {'a': 1, 'b': [1]}})
        self.change(proxy, lambda session: session['cart']['b'].append(2))
        self.assertEqual(proxy.sent, {'Set': {'cart': {'b': [1, 2]}}})

    def test_clear(self):
        proxy = Proxy({'a': 1, 'b': 2})
        self.change(proxy, lambda session: session.clear())
        self.assertEqual(proxy.sent, {'Set': {'a': None, 'b': None}})

    def test_flush(self):
        proxy = Proxy({'a': 1})

        def change(session):
            session.flush()
            self.assertEqual((session.session_key, dict(session.items())), (None, {}))

        self.change(proxy, change)
        self.assertEqual(proxy.sent, {'Control': 'clear'})
        before = proxy.id
        self.change(proxy, lambda session: (session.flush(), session.update({'a': 1})))
        self.assertEqual(proxy.sent, {'Control': 'clear', 'Set': {'a': 1}})
        self.assertNotEqual(proxy.id, before)

    def test_cycle_key(self):
        proxy = Proxy({'a': 1})
        self.change(proxy, lambda session: session.cycle_key())
        self.assertEqual((proxy.sent, proxy.data), ({'Control': 'renew'}, {'a': 1}))
        proxy = Proxy()
        keys = []
        self.change(proxy, lambda session: (session.cycle_key(), keys.append(session.session_key)))
        self.assertEqual((proxy.data, keys), ({}, [proxy.id]))

    def test_session_key_of_a_new_session(self):
        """Applications call create or save to have a session_key before the response."""
        for begin in (lambda session: session.create(), lambda session: session.save()):
            proxy = Proxy()
            keys = []
            self.change(proxy, lambda session: (begin(session), keys.append(session.session_key)))
            self.assertEqual((proxy.sent, proxy.data, keys), ({'Set': {}}, {}, [proxy.id]))

    def test_create_in_a_session(self):
        proxy = Proxy({'a': 1})
        before = proxy.id
        self.change(proxy, lambda session: (session.create(), session.update({'b': 1})))
        # What was loaded stays, as with Django's engines. The protection against CSRF has loaded it.
        self.assertEqual((proxy.sent, proxy.data), ({'Control': 'clear', 'Set': {'a': 1, 'b': 1}}, {'a': 1, 'b': 1}))
        self.assertNotEqual(proxy.id, before)

    def test_delete(self):
        proxy = Proxy({'a': 1})
        with mock.patch('caddy_session._log.error', side_effect=AssertionError) as error:
            self.change(proxy, lambda session: (session['a'], session.delete()))
        self.assertEqual((proxy.sent, error.mock_calls), ({'Control': 'destroy'}, []))
        proxy = Proxy({'a': 1})
        self.change(proxy, lambda session: (session.update({'a': 2}), session.save(), session.delete()), status=503)
        self.assertEqual(proxy.sent, {'Control': 'destroy'})
        proxy = Proxy({'a': 1})
        with self.assertLogs('django', 'WARNING'):
            self.change(proxy, lambda session: (session.delete(), session.update({'b': 1})), status=400)

    def test_server_errors_save_nothing(self):
        """As with Django's engines, but for what these do at once."""
        proxy = Proxy({'a': 1})
        with self.assertLogs(level='ERROR') as logs:
            self.change(proxy, lambda session: session.update({'a': 2}), status=503)
            self.assertEqual(proxy.sent, {})
            self.change(proxy, lambda session: (session.update({'a': 2}), session.save(), session.update({'a': 3})), status=503)
            self.assertEqual(proxy.sent, {'Set': {'a': 2}})
            self.change(proxy, lambda session: (session.flush(), session.update({'b': 3})), status=503)
            self.assertEqual(proxy.sent, {'Control': 'clear'})
        self.assertEqual({record.name for record in logs.records}, {'django.request'})

    def test_test_cookie(self):
        proxy = Proxy()
        self.change(proxy, lambda session: session.set_test_cookie())

        def check(session):
            self.assertTrue(session.test_cookie_worked())
            session.delete_test_cookie()

        self.change(proxy, check)
        self.assertEqual(proxy.data, {})

    def test_other_sessions(self):
        """A store that belongs to no request has no session, and says so when it is saved."""
        store = caddy_session.SessionStore(session_key='7KcVyzyzAhxNBZB2SXfFhQ')
        self.assertEqual(dict(store.items()), {})
        self.assertFalse(store.exists('7KcVyzyzAhxNBZB2SXfFhQ'))
        store['a'] = 1
        for change in (store.save, store.create):
            with self.assertRaisesRegex(RuntimeError, 'belongs to no request'):
                change()
        with self.assertRaisesRegex(RuntimeError, 'only the session of the request'):
            self.change(Proxy({'a': 1}), lambda session: session.delete('0123456789012345678901'))

    def test_clear_expired(self):
        caddy_session.SessionStore.clear_expired()
        with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, 'django.contrib.sessions']):
            call_command('clearsessions')


class TestExpiry(DjangoTest):
    def test_set_expiry(self):
        proxy = Proxy()

        def change(session):
            session.set_expiry(300)
            self.assertEqual(session.get_expiry_age(), 300)
            self.assertFalse(session.get_expire_at_browser_close())

        self.change(proxy, change)
        self.assertEqual(proxy.sent, {'Control': 'max-age=300', 'Set': {'_session_expiry': 300}})
        self.change(proxy, lambda session: session.update({'a': 1}))
        self.assertEqual(proxy.sent, {'Control': 'max-age=300', 'Set': {'a': 1}})
        self.change(proxy, lambda session: session.get('a'))
        self.assertEqual(proxy.sent, {})
        self.change(proxy, lambda session: session.set_expiry(0))
        self.assertEqual(proxy.sent, {'Control': 'max-age=0', 'Set': {'_session_expiry': 0}})
        self.change(proxy, lambda session: session.set_expiry(-5))
        self.assertEqual(proxy.sent, {'Control': 'max-age=1', 'Set': {'_session_expiry': -5}})
        self.change(proxy, lambda session: session.set_expiry(None))
        self.assertEqual(proxy.sent, {'Control': 'max-age=0', 'Set': {'_session_expiry': None}})

    @unittest.skipIf(django.VERSION < (4, 1), 'before Django 4.1, JSON has no form of it')
    def test_set_expiry_to_a_date(self):
        proxy = Proxy()
        self.change(proxy, lambda session: session.set_expiry(datetime.timedelta(minutes=5)))
        self.assertIn(proxy.sent['Control'], ('max-age=300', 'max-age=299'))

    def test_expires(self):
        """What Caddy says is the truth, unless the application has asked for something else."""
        proxy = Proxy({'a': 1}, HTTP_X_SESSION_EXPIRES=str(int(time.time()) + 1000))
        self.change(proxy, lambda session: self.assertIn(session.get_expiry_age(), (999, 1000)))
        proxy.more = {}
        self.change(proxy, lambda session: self.assertEqual(session.get_expiry_age(), settings.SESSION_COOKIE_AGE))

    def test_cookie_age_of_the_project(self):
        """Django's default, two weeks, is nobody's wish: the site's limits hold."""
        proxy = Proxy()
        with override_settings(SESSION_COOKIE_AGE=3600):
            self.change(proxy, lambda session: session.update({'a': 1}))
            self.assertEqual(proxy.sent, {'Control': 'max-age=3600', 'Set': {'a': 1}})
            self.change(proxy, lambda session: session.get('a'))
            self.assertEqual(proxy.sent, {})
            with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
                self.change(proxy, lambda session: session.update({'a': 2}))
                self.assertEqual(proxy.sent, {'Set': {'a': 2}})

    def test_save_every_request(self):
        """Caddy touches sessions; what is left to ask for is max-age, when a tenth of it has passed."""
        with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
            for left, want in ((300, {}), (280, {}), (260, {'Control': 'max-age=300'})):
                proxy = Proxy({'_session_expiry': 300}, HTTP_X_SESSION_EXPIRES=str(int(time.time()) + left))
                self.change(proxy, lambda session: None)
                self.assertEqual(proxy.sent, want)
            proxy = Proxy({'a': 1}, HTTP_X_SESSION_EXPIRES=str(int(time.time()) + 10))
            self.change(proxy, lambda session: None)
            self.assertEqual(proxy.sent, {})


class TestApplications(DjangoTest):
    @classmethod
    def setUpClass(cls):
        call_command('migrate', verbosity=0)
        cls.alice = User.objects.create_user('alice', password='secret')
        cls.bob = User.objects.create_user('bob', password='secret')

    def sign_in(self, proxy, user):
        def view(request):
            auth.login(request, auth.authenticate(request, username=user, password='secret'))
            return HttpResponse(request.session.session_key)

        return self.visit(proxy, view)

    def user(self, proxy):
        return self.visit(proxy, lambda request: HttpResponse(request.user.get_username())).content.decode()

    def test_auth(self):
        proxy = Proxy({'cart': 1})
        self.sign_in(proxy, 'alice')
        self.assertEqual(proxy.sent['Control'], 'renew')
        self.assertEqual((proxy.data['_auth_user_id'], proxy.data['cart']), (str(self.alice.pk), 1))
        self.assertEqual(self.user(proxy), 'alice')
        self.assertEqual(proxy.sent, {})

        before = proxy.id
        self.sign_in(proxy, 'bob')  # another user: nothing of Alice's stays
        self.assertEqual(proxy.sent['Control'], 'clear')
        self.assertEqual((self.user(proxy), 'cart' in proxy.data), ('bob', False))
        self.assertNotEqual(proxy.id, before)

        self.visit(proxy, lambda request: auth.logout(request) or HttpResponse())
        self.assertEqual((proxy.sent, proxy.data), ({'Control': 'clear'}, {}))
        self.assertEqual(self.user(proxy), '')

    def test_sign_in_begins_a_session(self):
        proxy = Proxy()
        response = self.sign_in(proxy, 'alice')
        self.assertEqual(proxy.data['_auth_user_id'], str(self.alice.pk))
        self.assertEqual(response.content.decode(), proxy.id)

    def test_password_change(self):
        here, elsewhere = Proxy(), Proxy()
        self.sign_in(here, 'alice')
        self.sign_in(elsewhere, 'alice')

        def change(request):
            request.user.set_password('other')
            request.user.save()
            auth.update_session_auth_hash(request, request.user)
            return HttpResponse()

        self.visit(here, change)
        self.addCleanup(self.alice.save)  # which has the old one
        self.assertEqual(here.sent['Control'], 'renew')
        self.assertEqual((self.user(here), self.user(elsewhere)), ('alice', ''))
        self.assertEqual(elsewhere.data, {})

    def test_messages(self):
        proxy = Proxy()
        self.visit(proxy, lambda request: messages.info(request, 'saved') or HttpResponse())
        show = lambda request: HttpResponse(','.join(map(str, messages.get_messages(request))))
        self.assertEqual(self.visit(proxy, show).content, b'saved')
        self.assertEqual(self.visit(proxy, show).content, b'')

    def test_csrf_in_session(self):
        proxy = Proxy()
        token = self.visit(proxy, lambda request: HttpResponse(get_token(request))).content.decode()
        self.assertIn('_csrftoken', proxy.data)
        done = lambda request: HttpResponse('done')
        self.assertEqual(self.visit(proxy, done, method='post', HTTP_X_CSRFTOKEN=token).content, b'done')
        with self.assertLogs('django.security.csrf', 'WARNING'):
            self.assertEqual(self.visit(proxy, done, method='post').status_code, 403)

    def test_cached_pages(self):
        """Caddy has removed the cookie by which Django's caches tell visitors apart."""
        cache.clear()
        alice, bob = Proxy({'user': 'alice'}), Proxy({'user': 'bob'}, id='another-id-22-chars-00')
        for proxy, name in ((alice, 'alice'), (bob, 'bob'), (Proxy(), 'None'), (alice, 'alice')):
            self.assertEqual(self.visit(proxy, None, '/cached').content.decode(), 'page of %s' % name)
        # Nor by a cookie that somebody else makes, or after a change.
        thief = Proxy()
        for value in (alice.id, alice.id + '{"user": "alice"}'):
            response = self.visit(thief, None, '/cached', HTTP_COOKIE='sessionid=' + value)
            self.assertEqual(response.content.decode(), 'page of None')
        alice.data = {}
        self.assertEqual(self.visit(alice, None, '/cached').content.decode(), 'page of None')
        self.assertEqual(self.visit(alice, lambda request: HttpResponse(request.COOKIES['other']), HTTP_COOKIE='other=1').content, b'1')

    def test_changes_are_not_cached(self):
        """What one visitor's response sets is not replayed to others."""
        cache.clear()
        alice, bob = Proxy(), Proxy()
        around = ['django.middleware.cache.UpdateCacheMiddleware', *settings.MIDDLEWARE, 'django.middleware.cache.FetchFromCacheMiddleware']
        with override_settings(MIDDLEWARE=around):
            self.visit(alice, lambda request: request.session.update({'cart': 1}) or HttpResponse('set', headers={'Cache-Control': 'public'}))
            response = self.visit(bob, lambda request: HttpResponse('not cached'))
            self.assertEqual((alice.data['cart'], response.content, bob.data), (1, b'not cached', None))
            self.assertEqual(self.visit(bob, lambda request: HttpResponse('again')).content, b'not cached')


class TestValues(DjangoTest):
    def test_what_json_has_not(self):
        proxy = Proxy({'a': 1})
        with self.assertRaisesRegex(TypeError, r"session\['cart'\]\['x'\]: .*type set"):
            self.change(proxy, lambda session: session.update({'cart': {'x': {1}}}))

    def test_serializer(self):
        """Any serializer that makes JSON may be used; pickled data is code that others could write."""
        with override_settings(SESSION_SERIALIZER='test_django.Dates'):
            proxy = Proxy()
            self.change(proxy, lambda session: session.update({'day': datetime.date(2024, 5, 6)}))
            self.assertEqual(proxy.data, {'day': '2024-05-06'})
            self.change(proxy, lambda session: self.assertEqual(session['day'], datetime.date(2024, 5, 6)))
            self.assertEqual(proxy.sent, {})
        with override_settings(SESSION_SERIALIZER='test_django.Pickle'):
            with self.assertRaisesRegex(ImproperlyConfigured, 'SESSION_SERIALIZER'):
                self.change(proxy, lambda session: None)

    def test_engine_and_middleware_go_together(self):
        with override_settings(SESSION_ENGINE='django.contrib.sessions.backends.file'):
            with self.assertRaisesRegex(ImproperlyConfigured, 'SESSION_ENGINE'):
                caddy_session.SessionMiddleware(view)


class Dates:
    def dumps(self, data):
        import json

        return json.dumps(data, default=str).encode()

    def loads(self, text):
        import json

        data = json.loads(text)
        return {key: datetime.date.fromisoformat(value) if key == 'day' else value for key, value in data.items()}


class Pickle:
    def dumps(self, data):
        import pickle

        return pickle.dumps(data)


class TestStreaming(DjangoTest):
    def test_late_change(self):
        proxy = Proxy({'nested': {}})

        def view(request):
            def stream():
                yield 'one'
                request.session['nested']['late'] = 1
                request.session['n'] = 2
                yield 'two'

            request.session['early'] = 1
            return StreamingHttpResponse(stream())

        with self.assertLogs('caddy_session', 'ERROR') as logs:
            self.visit(proxy, view)
        self.assertEqual((self.body, proxy.data), (b'onetwo', {'nested': {}, 'early': 1}))
        self.assertEqual(len(logs.output), 2)
        for key in ('nested', 'n'):
            self.assertIn("session['%s']" % key, ''.join(logs.output))

    def test_application_asks_for_more(self):
        def view(request):
            request.session.flush()
            return headed(HttpResponse(), 'revoke-others')

        def headed(response, control):
            response['X-Session-Control'] = control
            return response

        proxy = Proxy({'a': 1})
        self.visit(proxy, view)
        self.assertEqual(proxy.sent, {'Control': 'revoke-others, clear'})


class TestAsync(DjangoTest):
    def test_synchronous_methods(self):
        proxy = Proxy()

        async def change(session):
            session['n'] = 1

        self.async_change(proxy, change)
        self.assertEqual(proxy.data, {'n': 1})

    @unittest.skipIf(django.VERSION < (5, 1), 'Django 5.1 has them')
    def test_asynchronous_methods(self):
        proxy = Proxy()

        async def first(session):
            await session.aset('n', 1)
            await session.aset_expiry(60)
            self.assertEqual(await session.aget('n'), 1)
            await session.asave()
            self.assertTrue(session.session_key)
            self.assertFalse(await session.aexists('0123456789'))

        self.async_change(proxy, first)
        self.assertEqual(proxy.sent, {'Control': 'max-age=60', 'Set': {'n': 1, '_session_expiry': 60}})

        async def second(session):
            self.assertEqual(await session.aget('n'), 1)
            await session.acycle_key()

        self.async_change(proxy, second)
        self.assertEqual(proxy.sent, {'Control': 'renew'})

        async def third(session):
            await session.aflush()
            await session.aset('m', 2)

        self.async_change(proxy, third)
        self.assertEqual(proxy.sent, {'Control': 'clear', 'Set': {'m': 2}})

        async def fourth(session):
            await session.acreate()

        self.async_change(proxy, fourth)
        self.assertEqual(proxy.sent, {'Control': 'clear', 'Set': {'m': 2}})

        async def fifth(session):
            await session.adelete()

        self.async_change(proxy, fifth)
        self.assertEqual(proxy.sent, {'Control': 'destroy'})


class TestAPI(DjangoTest):
    def proxy(self, data=None):
        proxy = Proxy(data)
        proxy.serve(self)
        return proxy

    def stream(self, proxy, *steps):
        def view(request):
            def stream():
                for step in steps:
                    yield b'.'
                    step(request.session)

            request.session['early'] = 1
            return StreamingHttpResponse(stream())

        with mock.patch('caddy_session._log.error') as error:
            self.visit(proxy, view)
        self.assertEqual(error.mock_calls, [])

    def test_save(self):
        proxy = self.proxy({'a': 1})

        def change(session):
            session['b'] = 2
            session.set_expiry(60)
            session.save()
            self.assertEqual(proxy.data, {'a': 1, 'b': 2, '_session_expiry': 60})
            session['c'] = 3

        self.change(proxy, change)
        self.assertEqual([request[:2] for request in proxy.asked], [('PATCH', ''), ('POST', '/max-age?seconds=60')])
        self.assertEqual((proxy.sent['Set'], proxy.data['c']), ({'c': 3}, 3))
        self.change(proxy, lambda session: session.save())
        self.assertEqual((proxy.asked, proxy.sent), ([], {}))

    def test_save_begins(self):
        """With create as well, before the response, under the key that the application sees."""
        for begin in (lambda session: session.create(), lambda session: session.save()):
            proxy = self.proxy()

            def change(session):
                begin(session)
                self.assertIsNotNone(proxy.id)
                self.assertEqual(session.session_key, proxy.id)

            self.change(proxy, change)
            self.assertEqual((proxy.data, proxy.sent), ({}, {}))

    def test_create_in_a_session(self):
        proxy = self.proxy({'a': 1})
        before = proxy.id

        def change(session):
            session.create()
            self.assertNotEqual(proxy.id, before)
            self.assertEqual(session.session_key, proxy.id)

        self.change(proxy, change)
        self.assertEqual((proxy.data, proxy.sent), ({'a': 1}, {}))

    def test_flush_and_delete(self):
        """Nobody else has the data any more, before the response."""
        for end, data in ((lambda session: session.flush(), {}), (lambda session: session.delete(), None)):
            proxy = self.proxy({'a': 1})

            def change(session):
                session['b'] = 2
                session.save()
                end(session)
                self.assertEqual(proxy.data, data)

            self.change(proxy, change, status=503 if data is None else 200)
            self.assertEqual((proxy.data, proxy.sent), (data, {}))
        proxy = self.proxy({'a': 1})
        self.change(proxy, lambda session: (session.flush(), session.update({'c': 3})))
        self.assertEqual((proxy.data, proxy.sent), ({'c': 3}, {'Set': {'c': 3}}))
        with self.assertLogs('django', 'WARNING'):
            self.change(proxy, lambda session: (session.delete(), session.update({'b': 1})), status=400)

    def test_cycle_key(self):
        """It goes with the head, as the browser has no use for the new secret before, or with an explicit save."""
        proxy = self.proxy({'a': 1})
        self.change(proxy, lambda session: session.cycle_key())
        self.assertEqual((proxy.asked, proxy.sent), ([], {'Control': 'renew'}))
        self.change(proxy, lambda session: (session.cycle_key(), session.save()))
        self.assertEqual((proxy.asked, proxy.sent), ([('POST', '/renew', None)], {}))

    def test_late_change(self):
        proxy = self.proxy({'nested': {}})
        self.stream(proxy, lambda session: session['nested'].update(late=1), lambda session: session.update({'n': 2}))
        self.assertEqual(proxy.sent, {'Set': {'early': 1}})
        self.assertEqual(proxy.asked, [('PATCH', '?begun', {'nested': {'late': 1}, 'n': 2})])
        self.assertEqual(proxy.data, {'early': 1, 'nested': {'late': 1}, 'n': 2})

    def test_save_in_a_stream(self):
        proxy = self.proxy({'n': 0})

        def save(session):
            session['n'] += 1
            session.save()
            self.assertEqual(proxy.data['n'], session['n'])

        self.stream(proxy, save, save)
        self.assertEqual(len(proxy.asked), 2)

    def test_reload(self):
        proxy = self.proxy({'a': 1, 'gone': 1})

        def change(session):
            session['gone'] = 2
            proxy._change(patch={'gone': None, 'b': 2})
            session.reload()
            self.assertEqual(dict(session.items()), {'a': 1, 'b': 2})

        self.change(proxy, change)
        self.assertEqual((proxy.sent, proxy.data), ({}, {'a': 1, 'b': 2}))
        with self.assertRaisesRegex(RuntimeError, 'belongs to no request'):
            caddy_session.SessionStore().reload()

    def test_late_flush(self):
        proxy = self.proxy({'a': 1})

        def late(session):
            for ask in (session.flush, session.cycle_key, session.create):
                with self.assertRaisesRegex(caddy_session.SessionAPIError, 'too late for a cookie'):
                    ask()
                self.assertEqual(session['a'], 1)
            session.delete()
            self.assertIsNone(proxy.id)
            with self.assertRaises(UpdateError):
                session.save()

        self.stream(proxy, late)

    def test_files_are_sent_by_the_server(self):
        """What can be sent without Python is not wrapped."""
        with mock.patch('caddy_session.SessionStore._until', side_effect=AssertionError):
            self.visit(self.proxy({'a': 1}), lambda request: FileResponse(open(__file__, 'rb')))
        with open(__file__, 'rb') as file:
            self.assertEqual(self.body, file.read())

    def test_interrupted(self):
        """Where the session has ended meanwhile, errors are those of Django's engines."""
        gone = 410, 'the session has ended'
        proxy = self.proxy({'a': 1})
        proxy.refusals = {('PATCH', ''): gone, ('POST', '/clear'): gone}

        def change(session):
            session['b'] = 1
            with self.assertRaises(UpdateError):
                session.save()

        self.change(proxy, change)
        with self.assertLogs('django', 'WARNING'):
            self.change(proxy, lambda session: session.update({'large': 'x' * 10000}), status=400)
        # To sign out is no error then, and Caddy decides with the head.
        self.change(proxy, lambda session: session.flush())
        self.assertEqual(proxy.sent, {'Control': 'clear'})

    def test_errors(self):
        for status in (401, 409, 412, 413, 503):
            proxy = self.proxy({'a': 1})
            proxy.refusals = {('PATCH', ''): (status, 'so it is')}
            with self.assertRaisesRegex(caddy_session.SessionAPIError, 'PATCH / with %d: so it is' % status):
                self.change(proxy, lambda session: (session.update({'b': 1}), session.save()))

    def test_large(self):
        proxy = self.proxy({'large': 'x' * (1 << 20)})
        proxy.exposed = False
        self.change(proxy, lambda session: session.update({'other': session['large'][::-1]}))
        self.assertEqual((proxy.sent, proxy.data), ({}, {'large': 'x' * (1 << 20), 'other': 'x' * (1 << 20)}))

    def test_asynchronous(self):
        """Methods that wait for the API have others go on, and changes in asynchronous streams are saved."""
        proxy = self.proxy({'a': 1})

        async def view(request):
            session = request.session
            loop = asyncio.get_running_loop()
            waits = []
            ask = caddy_session._ask

            def elsewhere(*arguments, **more):
                with self.assertRaises(RuntimeError):
                    asyncio.get_running_loop()
                waits.append(arguments)
                return ask(*arguments, **more)

            with mock.patch('caddy_session._ask', elsewhere):
                self.assertEqual((await session.aload())['a'], 1)
                session['b'] = 2
                await session.asave()
                self.assertEqual(proxy.data['b'], 2)
                await session.areload()
                await session.aflush()
                await session.acreate()
                await session.acycle_key()
            self.assertEqual(len(waits), 4)
            self.assertIs(loop, asyncio.get_running_loop())

            async def stream():
                yield b'one'
                session['late'] = 1
                await session.asave()
                self.assertEqual(proxy.data['late'], 1)
                yield b'two'
                session['last'] = 1

            session['early'] = 1
            return StreamingHttpResponse(stream()) if django.VERSION >= (4, 2) else HttpResponse()

        views['view'] = view

        async def visit():
            headers = {name[5:].replace('_', '-'): value for name, value in proxy.environ().items()}
            response = await AsyncClient().get('/async', **({'headers': headers} if django.VERSION >= (4, 2) else headers))
            proxy.obey(response.items())
            if response.streaming:
                self.assertEqual([chunk async for chunk in response], [b'one', b'two'])
                self.assertEqual(proxy.data, {'early': 1, 'late': 1, 'last': 1})

        asyncio.run(visit())


class TestWithoutCaddy(DjangoTest):
    def test_not_kept(self):
        proxy = Proxy()
        proxy.environ = dict
        caddy_session.Visit._warned = False
        with self.assertLogs('caddy_session', 'WARNING'):
            self.change(proxy, lambda session: session.update({'a': 1}))
        self.assertEqual(proxy.sent, {})

    def test_required(self):
        proxy = Proxy()
        proxy.environ = dict
        with override_settings(CADDY_SESSION_REQUIRED=True):
            with self.assertRaisesRegex(RuntimeError, 'X-Session-New-Id'):
                self.change(proxy, lambda session: None)


if __name__ == '__main__':
    unittest.main()

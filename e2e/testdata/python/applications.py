"""Three applications with the sessions of their frameworks, each on a port of its own.

Arguments: a directory for Django's database, and the ports of Flask, Django and WSGI.
"""

import collections
import json
import os
import socketserver
import sys
import threading
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
import flask
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

import caddy_session

# Where twenty requests wait until all of them have read their sessions.
barrier = threading.Barrier(20, timeout=60)

# What all three do with the session API. A request waits until its key is released.
released = collections.defaultdict(threading.Event)


def save(session, key):
    session[key] = 1
    session.save()
    released[key].wait(60)


def save_in_stream(session, key):
    yield b'first'
    session[key] = 1
    session.save()
    released[key].wait(60)
    session[key] = 2
    yield b' last'


def put(session, key):
    cart = session.setdefault('cart', {})
    barrier.wait()
    cart[key] = None  # which no merge patch can say
    session.save()


def grow(session, size):
    session['large'] = 'x' * int(size)


def release(session, key):
    released[key].set()


actions = {'save': save, 'put': put, 'grow': grow, 'release': release}

# Flask

site = flask.Flask(__name__)
site.session_interface = caddy_session.SessionInterface()


@site.route('/')
def flask_data():
    return flask.jsonify(dict(flask.session))


@site.route('/set')
def flask_set():
    cart = flask.session.setdefault('cart', {})
    if 'wait' in flask.request.args:
        barrier.wait()
    flask.session['flask-' + flask.request.args['key']] = 1
    cart['flask-' + flask.request.args['key']] = 1
    return 'set'


@site.route('/flash')
def flask_flash():
    flask.flash('café saved')
    flask.session['pair'] = (1, 2)
    return flask.redirect('messages')


@site.route('/messages')
def flask_messages():
    return flask.render_template_string('{{ get_flashed_messages()|join(",") }} {{ session.pair == (1, 2) }}')


@site.route('/permanent')
def flask_permanent():
    flask.session.permanent = True
    return 'permanent'


@site.route('/clear')
def flask_clear():
    flask.session.clear()
    return 'clear'


@site.route('/late')
def flask_late():
    def stream():
        yield 'first'
        flask.session['too-late'] = 1
        yield ' last'

    return flask.Response(flask.stream_with_context(stream()))


@site.route('/do/<action>/<value>')
def flask_do(action, value):
    actions[action](flask.session._get_current_object(), value)
    return 'done'


@site.route('/stream/<key>')
def flask_stream(key):
    return flask.Response(flask.stream_with_context(save_in_stream(flask.session._get_current_object(), key)))


# Django


def django_data(request):
    return JsonResponse(dict(request.session.items()))


def django_set(request):
    cart = request.session.setdefault('cart', {})
    if 'wait' in request.GET:
        barrier.wait()
    request.session['django-' + request.GET['key']] = 1
    cart['django-' + request.GET['key']] = 1
    return HttpResponse('set')


def django_key(request):
    if request.session.session_key is None:
        request.session.create()
    return HttpResponse(request.session.session_key)


def django_expiry(request):
    request.session.set_expiry(int(request.GET['seconds']))
    return HttpResponse('set')


def django_late(request):
    def stream():
        yield 'first'
        request.session['too-late'] = 1
        yield ' last'

    return StreamingHttpResponse(stream())


def django_do(request, action, value):
    actions[action](request.session, value)
    return HttpResponse('done')


def django_stream(request, key):
    return StreamingHttpResponse(save_in_stream(request.session, key))


def django_flush(request, key):
    request.session.flush()
    released[key].wait(60)
    return HttpResponse('done')


urlpatterns = [
    path('django/', django_data),
    path('django/set', django_set),
    path('django/key', django_key),
    path('django/expiry', django_expiry),
    path('django/late', django_late),
    path('django/do/<action>/<value>', django_do),
    path('django/stream/<key>', django_stream),
    path('django/flush/<key>', django_flush),
]


def django_site(directory):
    from django.core.wsgi import get_wsgi_application

    settings.configure(
        ALLOWED_HOSTS=['*'],
        CSRF_USE_SESSIONS=True,
        DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': os.path.join(directory, 'db.sqlite3')}},
        DEBUG=True,
        DEFAULT_AUTO_FIELD='django.db.models.AutoField',
        INSTALLED_APPS=[
            'django.contrib.admin',
            'django.contrib.auth',
            'django.contrib.contenttypes',
            'django.contrib.messages',
            'django.contrib.sessions',
            'django.contrib.staticfiles',
        ],
        MESSAGE_STORAGE='django.contrib.messages.storage.session.SessionStorage',
        MIDDLEWARE=[
            'caddy_session.SessionMiddleware',
            'django.middleware.common.CommonMiddleware',
            'django.middleware.csrf.CsrfViewMiddleware',
            'django.contrib.auth.middleware.AuthenticationMiddleware',
            'django.contrib.messages.middleware.MessageMiddleware',
        ],
        PASSWORD_HASHERS=['django.contrib.auth.hashers.MD5PasswordHasher'],
        ROOT_URLCONF=__name__,
        SECRET_KEY='for tests',
        SESSION_ENGINE='caddy_session',
        STATIC_URL='/static/',
        TEMPLATES=[
            {
                'BACKEND': 'django.template.backends.django.DjangoTemplates',
                'APP_DIRS': True,
                'OPTIONS': {
                    'context_processors': [
                        'django.template.context_processors.request',
                        'django.contrib.auth.context_processors.auth',
                        'django.contrib.messages.context_processors.messages',
                    ]
                },
            }
        ],
    )
    django.setup()
    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    call_command('migrate', verbosity=0)
    User.objects.create_superuser('alice', password='secret')
    urlpatterns.append(path('admin/', admin.site.urls))
    call_command('check', stdout=sys.stderr)
    return StaticFilesHandler(get_wsgi_application())


# WSGI


def plain(environ, start_response):
    session = environ['caddy.session']
    query = parse_qs(environ['QUERY_STRING'], keep_blank_values=True)
    if environ['PATH_INFO'] == '/set':
        cart = session.setdefault('cart', {})
        if 'wait' in query:
            barrier.wait()
        session['wsgi-' + query['key'][0]] = 1
        cart['wsgi-' + query['key'][0]] = 1
    elif environ['PATH_INFO'] == '/become':
        wanted = json.loads(environ['wsgi.input'].read(int(environ['CONTENT_LENGTH'])))
        if wanted['control'] == 'clear':
            session.clear()
        for key in set(session) - set(wanted['after']):
            del session[key]
        session.update(wanted['after'])
    elif environ['PATH_INFO'].startswith('/do/'):
        action, value = environ['PATH_INFO'].split('/')[2:]
        actions[action](session, value)
    elif environ['PATH_INFO'].startswith('/stream/'):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return save_in_stream(session, environ['PATH_INFO'].split('/')[2])
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(dict(session)).encode()]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 100


class Handler(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


def main():
    directory, *ports = sys.argv[1:]
    applications = (site, django_site(directory), caddy_session.WSGIMiddleware(plain))
    for application, port in zip(applications, ports):
        server = make_server('127.0.0.1', int(port), application, Server, Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print('ready', flush=True)
    sys.stdin.read()  # until the test ends


if __name__ == '__main__':
    main()

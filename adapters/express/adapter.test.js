// What the README of express-session promises, and what is different here. The
// names of these tests are in the tables of docs/adapters/express.md.

'use strict'

const assert = require('assert')
const http2 = require('http2')
const { once } = require('events')
const { test } = require('node:test')
const { session, ID, NEW_ID, came, nobody, listen, ask, errors } = require('./testing')

const quiet = { resave: false, saveUninitialized: false }

test('a request that does not touch the session costs no parsing', async (t) => {
  const parse = t.mock.method(JSON, 'parse')
  const server = await listen(t, {})
  parse.mock.resetCalls()
  const headers = came({ user: 'alice' })
  const before = parse.mock.callCount()
  await ask(server, headers)
  assert.strictEqual(parse.mock.callCount(), before)
})

test('saveUninitialized', async (t) => {
  const all = await listen(t, {})
  assert.deepStrictEqual((await ask(all, nobody())).said, { set: {} })
  assert.deepStrictEqual((await ask(all, came({}))).said, {})
  const some = await listen(t, quiet, (req, res) => {
    if (req.url === '/in') req.session.user = 'bob'
    res.end(String(req.session.user))
  })
  assert.deepStrictEqual((await ask(some, nobody())).said, {})
  assert.deepStrictEqual((await ask(some, nobody(), '/in')).said, { set: { user: 'bob' } })
})

test('resave sends nothing where nothing has changed', async (t) => {
  const server = await listen(t, { resave: true }, (req, res) => {
    req.session.user = 'bob'
    res.end()
  })
  assert.deepStrictEqual((await ask(server, came({ user: 'bob' }))).said, {})
})

test('ids', async (t) => {
  const server = await listen(t, quiet, (req, res) => {
    const before = [req.sessionID, req.session.id]
    assert.throws(() => { req.session.id = 'x' }, TypeError)
    if (req.url === '/') return res.end(JSON.stringify(before))
    req.session.regenerate(() => res.end(JSON.stringify([...before, req.sessionID, req.session.id])))
  })
  assert.deepStrictEqual(JSON.parse((await ask(server, came({}))).body), [ID, ID])
  assert.deepStrictEqual(JSON.parse((await ask(server, nobody())).body), [NEW_ID, NEW_ID])
  assert.deepStrictEqual(JSON.parse((await ask(server, came({}), '/new')).body), [ID, ID, NEW_ID, NEW_ID])
})

test('what is enumerable', async (t) => {
  const server = await listen(t, quiet, (req, res) => {
    req.session.b = 2
    const keys = []
    for (const key in req.session) keys.push(key)
    res.end(JSON.stringify([Object.keys(req.session), keys, JSON.parse(JSON.stringify(req.session))]))
  })
  const cookie = { originalMaxAge: null, expires: null, httpOnly: true, path: '/' }
  assert.deepStrictEqual(JSON.parse((await ask(server, came({ a: 1 }))).body),
    [['cookie', 'a', 'b'], ['cookie', 'a', 'b'], { cookie, a: 1, b: 2 }])
})

test('keys that req.session uses itself stay as they are', async (t) => {
  const server = await listen(t, quiet, (req, res) => {
    req.session.n++
    req.session.save(() => res.end(typeof req.session.cookie + typeof req.session.destroy + req.session.id))
  })
  const data = JSON.parse('{"save": "nope", "id": 7, "req": 1, "destroy": 1, "cookie": "sweet", "__proto__": {"x": 1}, "constructor": 1, "n": 1}')
  const answer = await ask(server, came(data))
  assert.strictEqual(answer.body, 'objectfunction' + ID)
  assert.deepStrictEqual(answer.said, { set: { n: 2 } })
})

test('values are what JSON.stringify makes of them', async (t) => {
  const server = await listen(t, quiet, (req, res) => {
    Object.assign(req.session, {
      date: new Date(0), gone: undefined, f () {}, nan: NaN, infinite: Infinity, o: { f () {}, u: undefined, n: 1 }, l: [undefined, () => {}],
      own: { toJSON: () => 'made' }, map: new Map([[1, 2]]), buffer: Buffer.from('a')
    })
    res.end()
  })
  const { said } = await ask(server, nobody())
  assert.deepStrictEqual(said, {
    put: { nan: null, infinite: null },
    set: { date: '1970-01-01T00:00:00.000Z', o: { n: 1 }, l: [null, null], own: 'made', map: {}, buffer: { type: 'Buffer', data: [97] } }
  })
  assert.deepStrictEqual((await ask(server, came(Object.assign({}, said.set, said.put)))).said, {})
})

test('what JSON does not have is an error that names the key', async (t) => {
  const server = await listen(t, quiet, (req, res) => {
    req.session.cart = { 'a b': [{ total: 1 }] }
    if (req.url === '/big') req.session.cart['a b'][0].total = 10n
    else req.session.cart['a b'][0].up = req.session.cart
    if (req.url === '/save') return req.session.save((err) => res.end(err.message))
    res.end('never')
  })
  for (const [path, status, what] of [
    ['/big', 500, 'req.session.cart["a b"][0].total is a BigInt'],
    ['/', 500, 'req.session.cart["a b"][0].up contains itself'],
    ['/save', 200, 'req.session.cart["a b"][0].up contains itself']
  ]) {
    const answer = await ask(server, came({ x: 1 }), path)
    assert.strictEqual(answer.status, status, path)
    assert.ok(answer.body.includes(what), answer.body)
    assert.deepStrictEqual(answer.said, {}, path)
  }
})

test('save calls back, and says what is saved with the response', async (t) => {
  const store = new session.MemoryStore()
  const server = await listen(t, { ...quiet, store }, (req, res) => {
    req.session.hit = true
    assert.strictEqual(req.session.save((err) => {
      assert.strictEqual(err, undefined)
      store.get(req.session.id, (err, data) => {
        assert.ifError(err)
        assert.strictEqual(data.hit, true)
        assert.ok(data.cookie)
        if (req.url === '/null') req.session = null
        res.end()
      })
    }), req.session)
  })
  for (const path of ['/', '/null']) {
    assert.deepStrictEqual((await ask(server, nobody(), path)).said, { set: { hit: true } }, path)
  }
})

test('reload goes back to what came or was saved', async (t) => {
  const server = await listen(t, quiet, (req, res) => {
    const first = req.session
    first.n = 5
    if (req.url === '/saved') first.save()
    first.n = 6
    first.reload((err) => {
      if (err) return res.end(err.message)
      assert.notStrictEqual(req.session, first)
      assert.strictEqual(req.session.id, first.id)
      res.end(String(req.session.n))
    })
  })
  let answer = await ask(server, came({ n: 1 }))
  assert.deepStrictEqual([answer.body, answer.said], ['1', {}])
  answer = await ask(server, came({ n: 1 }), '/saved')
  assert.deepStrictEqual([answer.body, answer.said], ['5', { set: { n: 5 } }])
  assert.strictEqual((await ask(server, nobody())).body, 'failed to load session')
})

test('destroy', async (t) => {
  const server = await listen(t, {}, (req, res) => {
    req.session.n = 2
    req.session.destroy((err) => {
      assert.ifError(err)
      if (req.url === '/again') {
        req.sessionStore.generate(req)
        req.session.flash = ['bye']
      }
      res.end(String(req.session && req.session.flash))
    })
  })
  let answer = await ask(server, came({ user: 'alice' }))
  assert.deepStrictEqual([answer.body, answer.said], ['undefined', { control: 'destroy' }])
  answer = await ask(server, came({ user: 'alice' }), '/again')
  assert.deepStrictEqual([answer.body, answer.said], ['bye', { control: 'clear', set: { flash: ['bye'] } }])
  assert.deepStrictEqual((await ask(server, nobody())).said, {})
})

test('regenerate', async (t) => {
  const server = await listen(t, quiet, (req, res) => {
    const old = req.session
    old.regenerate((err) => {
      assert.ifError(err)
      assert.strictEqual(req.session.user, undefined)
      if (req.url === '/user') req.session.user = 'alice'
      old.stale = true
      old.save((err) => res.end(err ? err.message : ''))
    })
  })
  const answer = await ask(server, came({ user: 'bob', n: 1 }), '/user')
  assert.deepStrictEqual(answer.said, { control: 'clear', set: { user: 'alice' } })
  assert.match(answer.body, /has ended/)
  assert.deepStrictEqual((await ask(server, came({ user: 'bob' }))).said, { control: 'clear' })
  assert.deepStrictEqual((await ask(server, nobody())).said, { set: {} })
})

test('a session destroyed through the store is not saved again', async (t) => {
  const server = await listen(t, { resave: true }, (req, res) => {
    if (req.url === '/touched') req.session.n = 2
    req.sessionStore.destroy(req.sessionID, (err) => res.end(String(err)))
  })
  for (const path of ['/', '/touched']) {
    const answer = await ask(server, came({ n: 1 }), path)
    assert.deepStrictEqual([answer.body, answer.said], ['undefined', { control: 'destroy' }], path)
  }
})

test('unset', async (t) => {
  const unset = (req, res) => {
    req.session.n = 2
    if (req.url === '/delete') delete req.session
    else req.session = null
    res.end()
  }
  const keep = await listen(t, {}, unset)
  const destroy = await listen(t, { unset: 'destroy' }, unset)
  for (const path of ['/', '/delete']) {
    assert.deepStrictEqual((await ask(keep, came({ n: 1 }), path)).said, {})
    assert.deepStrictEqual((await ask(keep, nobody(), path)).said, {})
    assert.deepStrictEqual((await ask(destroy, came({ n: 1 }), path)).said, { control: 'destroy' })
    assert.deepStrictEqual((await ask(destroy, nobody(), path)).said, {})
  }
})

test('maxAge', async (t) => {
  const server = await listen(t, { ...quiet, cookie: { maxAge: 59500 } }, (req, res) => {
    if (req.url === '/set') req.session.n = (req.session.n || 0) + 1
    if (req.url === '/longer') req.session.cookie.maxAge = 5000000
    if (req.url === '/expires') req.session.cookie.expires = new Date(Date.now() + 5000000)
    if (req.url === '/browser') req.session.cookie.expires = false
    if (req.url === '/over') req.session.cookie.maxAge = 0
    if (req.url === '/touch') req.session.touch()
    const { originalMaxAge, maxAge } = req.session.cookie
    res.end(JSON.stringify([originalMaxAge, maxAge]))
  })
  assert.deepStrictEqual((await ask(server, nobody(), '/set')).said, { set: { n: 1 }, control: 'max-age=60' })
  assert.deepStrictEqual((await ask(server, nobody(), '/')).said, {})
  assert.deepStrictEqual((await ask(server, nobody(), '/over')).said, {})
  assert.deepStrictEqual((await ask(server, nobody(), '/browser')).said, { set: { cookie: { originalMaxAge: false } } })

  const data = { n: 1 }
  assert.deepStrictEqual((await ask(server, came(data))).said, {})
  assert.deepStrictEqual((await ask(server, came(data), '/set')).said, { set: { n: 2 }, control: 'max-age=60' })
  assert.deepStrictEqual((await ask(server, came(data), '/touch')).said, { control: 'max-age=60' })
  const longer = await ask(server, came(data), '/longer')
  assert.deepStrictEqual(longer.said, { set: { cookie: { originalMaxAge: 5000000 } }, control: 'max-age=5000' })
  assert.strictEqual((await ask(server, came(data), '/expires')).said.control, 'max-age=5000')
  assert.deepStrictEqual((await ask(server, came(data), '/over')).said, { control: 'destroy' })
  assert.deepStrictEqual((await ask(server, came(data), '/browser')).said, { set: { cookie: { originalMaxAge: false } }, control: 'max-age=0' })

  // The time that was set for this session counts from then on.
  const kept = { n: 1, cookie: { originalMaxAge: 5000000 } }
  const expires = Math.floor(Date.now() / 1000) + 1000
  const answer = await ask(server, came(kept, { 'x-session-expires': String(expires) }), '/set')
  assert.deepStrictEqual(answer.said, { set: { n: 2 }, control: 'max-age=5000' })
  const [originalMaxAge, maxAge] = JSON.parse(answer.body)
  assert.strictEqual(originalMaxAge, 5000000)
  assert.ok(maxAge > 990000 && maxAge <= 1000000, String(maxAge))
  assert.deepStrictEqual((await ask(server, came(kept), '/longer')).said, {})
})

test('rolling', async (t) => {
  const server = await listen(t, { ...quiet, rolling: true, cookie: { maxAge: 60000 } })
  assert.deepStrictEqual((await ask(server, came({ n: 1 }))).said, { control: 'max-age=60' })
  assert.deepStrictEqual((await ask(server, nobody())).said, {})
  const browser = await listen(t, { ...quiet, rolling: true })
  assert.deepStrictEqual((await ask(browser, came({ n: 1 }))).said, {})
})

test('a time that is none goes to next()', async (t) => {
  const server = await listen(t, { cookie: { expires: new Date(NaN) } })
  assert.strictEqual((await ask(server, nobody())).status, 200)
  assert.deepStrictEqual(server.errors, ['option expires is invalid'])
})

test('secure', async (t) => {
  const https = { 'x-forwarded-proto': 'https, http' }
  for (const [options, headers, begins] of [
    [{ proxy: true }, https, true],
    [{ proxy: true }, {}, false],
    [{ proxy: false }, https, false],
    [{}, https, false]
  ]) {
    const server = await listen(t, { ...options, cookie: { secure: true } })
    assert.deepStrictEqual((await ask(server, nobody(headers))).said, begins ? { set: {} } : {}, JSON.stringify([options, headers]))
  }
  const auto = await listen(t, { proxy: true, cookie: { secure: 'auto', sameSite: 'auto' } }, (req, res) => {
    res.end(req.session.cookie.secure + ' ' + req.session.cookie.sameSite)
  })
  assert.strictEqual((await ask(auto, nobody(https))).body, 'true none')
  assert.strictEqual((await ask(auto, nobody())).body, 'false lax')
})

test('path', async (t) => {
  const server = await listen(t, { cookie: (req) => ({ path: req.headers['x-path'] }) }, (req, res) => res.end(typeof req.session))
  for (const [path, scope, want] of [['/foo/bar/baz?x', '/foo/bar', 'object'], ['/', '/foo/bar', 'undefined'], ['/x', '/', 'object']]) {
    assert.strictEqual((await ask(server, nobody({ 'x-path': scope }), path)).body, want, path)
  }
})

test('options', async (t) => {
  assert.throws(() => session({ genid: 'bogus!' }), /genid.*must/)
  assert.throws(() => session({ unset: 'bogus!' }), /unset.*must/)
  assert.throws(() => session({ secret: [] }), /secret option array/)
  const empty = await listen(t, { secret: undefined })
  const answer = await ask(empty, nobody())
  assert.strictEqual(answer.status, 500)
  assert.match(answer.body, /secret.*required/)
  const other = { on: assert.fail, get: assert.fail, set: assert.fail }
  const server = await listen(t, { secret: ['a', 'b'], name: 'x', key: 'y', genid: assert.fail, store: other }, (req, res) => {
    req.session.n = 1
    res.end()
  })
  assert.deepStrictEqual((await ask(server, nobody())).said, { set: { n: 1 } })
})

test('constructors', () => {
  // As stores for express-session inherit from it.
  function Other () { session.Store.call(this) }
  require('util').inherits(Other, session.Store)
  assert.strictEqual(typeof new Other().regenerate, 'function')
  assert.strictEqual(typeof session.Session, 'function')
  const cookie = new session.Cookie({ maxAge: 5000, sameSite: 'lax', secure: true, priority: 'high', domain: 'example.com', partitioned: true })
  assert.strictEqual(cookie.originalMaxAge, 5000)
  assert.ok(cookie.maxAge <= 5000 && cookie.maxAge > 0)
  cookie.expires = new Date(0)
  assert.strictEqual(cookie.serialize('a', 'b c'),
    'a=b%20c; Domain=example.com; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; Partitioned; Priority=High; SameSite=Lax')
  assert.deepStrictEqual(Object.keys(cookie.toJSON()),
    ['originalMaxAge', 'partitioned', 'priority', 'expires', 'secure', 'httpOnly', 'domain', 'path', 'sameSite'])
  assert.deepStrictEqual([new session.Cookie().expires, new session.Cookie().maxAge, new session.Cookie().path], [null, null, '/'])
  assert.throws(() => new session.Cookie('x'), TypeError)
  assert.throws(() => { cookie.maxAge = '1' }, TypeError)
})

test('a second middleware does nothing', async (t) => {
  const again = session({})
  const server = await listen(t, {}, (req, res) => {
    const before = req.session
    again(req, res, () => res.end(String(req.session === before)))
  })
  const answer = await ask(server, nobody())
  assert.deepStrictEqual([answer.body, answer.said], ['true', { set: {} }])

  // But it gives a request a session that has none any more.
  const after = await listen(t, quiet, (req, res) => {
    if (req.url === '/null') req.session = null
    else req.session.destroy()
    again(req, res, () => {
      if (req.url === '/new') req.session.n = 2
      res.end(req.url === '/' ? '' : req.session.id + req.session.n)
    })
  })
  for (const [path, body, said] of [
    ['/', '', { control: 'destroy' }],
    ['/new', NEW_ID + '2', { control: 'clear', set: { n: 2 } }],
    ['/null', ID + '1', {}]
  ]) {
    const answer = await ask(after, came({ n: 1 }), path)
    assert.deepStrictEqual([answer.body, answer.said], [body, said], path)
  }
  const theirs = await listen(t, {}, (req, res) => res.end(), (req) => { req.session = {} })
  assert.deepStrictEqual((await ask(theirs, nobody())).said, {})
})

test('a store whose methods were replaced is asked', async (t) => {
  const calls = []
  const store = new session.MemoryStore()
  for (const name of ['set', 'touch', 'destroy']) {
    store[name] = function (...args) {
      calls.push(name)
      if (calls.fail) return args[args.length - (name === 'destroy' ? 2 : 1)](new Error('boom!'))
      return session.MemoryStore.prototype[name].apply(this, args)
    }
  }
  const server = await listen(t, { ...quiet, unset: 'destroy', store }, (req, res) => {
    if (req.url === '/set') req.session.n = 2
    else if (req.url === '/unset') req.session = null
    else assert.ok(req.session)
    res.end()
  })
  const walk = async () => {
    for (const path of ['/set', '/unset', '/']) await ask(server, came({ n: 1 }), path)
  }
  await walk()
  assert.deepStrictEqual(calls.splice(0), ['set', 'destroy', 'touch'])
  calls.fail = true
  await walk()
  assert.deepStrictEqual(server.errors, ['boom!', 'boom!', 'boom!'])

  store.get = (sid, fn) => fn(new Error('no luck'))
  assert.strictEqual((await ask(server, came({ n: 1 }))).body, 'no luck')
  calls.fail = false
  store.get = (sid, fn) => fn(Object.assign(new Error('gone'), { code: 'ENOENT' }))
  assert.deepStrictEqual((await ask(server, came({ n: 1 }), '/set')).said, { control: 'clear', set: { n: 2 } })

  store.emit('disconnect')
  const typeOf = await listen(t, { store }, (req, res) => res.end(typeof req.session))
  store.emit('disconnect')
  assert.strictEqual((await ask(typeOf, nobody())).body, 'undefined')
  store.emit('connect')
  assert.strictEqual((await ask(typeOf, nobody())).body, 'object')
})

test('other sessions are out of reach, and that is an error', async (t) => {
  const lines = errors(t)
  const server = await listen(t, quiet, (req, res) => {
    const { sessionStore: store } = req
    const said = []
    const done = (err) => {
      said.push(err.message)
      if (said.length === 5) res.end(said.join('\n'))
    }
    store.get('other', done)
    store.destroy('other', done)
    store.all(done)
    store.length(done)
    store.clear(done)
    store.destroy('other')
  })
  const { body } = await ask(server, came({}))
  for (const name of ['get', 'destroy', 'all', 'length', 'clear']) assert.ok(body.includes(`store.${name}(): sessions of other requests`), body)
  assert.strictEqual(lines.length, 1)
})

test('heads, however they are written', async (t) => {
  const heads = {
    '/end': (res) => res.end('x'),
    '/empty': (res) => res.end(),
    '/null': (res) => res.end(null),
    '/twice': (res) => { res.end('x'); res.end() },
    '/write': (res) => { res.write('x'); res.end() },
    '/flush': (res) => { res.flushHeaders(); res.end() },
    '/length': (res) => { res.setHeader('Content-Length', 1); res.end('x') },
    '/object': (res) => res.writeHead(200, { 'X-Other': 'a', 'Set-Cookie': ['a=1', 'b=2'] }).end(),
    '/reason': (res) => res.writeHead(200, 'Fine', { 'X-Other': 'a', 'Set-Cookie': ['a=1', 'b=2'] }).end(),
    '/list': (res) => res.writeHead(200, ['X-Other', 'a', 'Set-Cookie', ['a=1', 'b=2']]).end(),
    '/304': (res) => { res.statusCode = 304; res.end() },
    '/own': (res) => { res.setHeader('X-Session-Control', 'revoke-others'); res.end() },
    '/own-head': (res) => res.writeHead(200, { 'X-Session-Control': 'revoke-others' }).end()
  }
  const server = await listen(t, { cookie: { maxAge: 1000 } }, (req, res) => {
    req.session.n = 2
    heads[req.url](res)
  })
  for (const path of Object.keys(heads)) {
    const { said, headers } = await ask(server, nobody(), path)
    assert.deepStrictEqual(said, { set: { n: 2 }, control: path.startsWith('/own') ? 'revoke-others, max-age=1' : 'max-age=1' }, path)
    if (!['/object', '/reason', '/list'].includes(path)) continue
    assert.deepStrictEqual([headers['x-other'], headers['set-cookie']], ['a', ['a=1', 'b=2']], path)
  }
})

test('HTTP/2', async (t) => {
  const middleware = session({})
  const server = http2.createServer((req, res) => middleware(req, res, () => {
    req.session.n = 2
    if (req.url === '/write') res.write('x')
    if (req.url === '/head') res.writeHead(200, { 'x-other': 'a' })
    res.end(req.url === '/body' ? 'x' : undefined)
  }))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = http2.connect(`http://127.0.0.1:${server.address().port}`)
  t.after(() => {
    client.close()
    server.close()
  })
  for (const path of ['/', '/write', '/head', '/body']) {
    const stream = client.request({ ':path': path, ...nobody() })
    const [headers] = await once(stream, 'response')
    assert.strictEqual(headers['x-session-set'], '{"n":2}', path)
    stream.resume()
    await once(stream, 'end')
  }
})

test('res.write and res.end that are patched before or after', async (t) => {
  const patch = (res) => {
    const { write, end } = res
    res.write = function (chunk, ...rest) { return write.call(this, String(chunk).toUpperCase(), ...rest) }
    res.end = function (chunk, ...rest) { return chunk ? end.call(this, String(chunk).toUpperCase(), ...rest) : end.call(this) }
  }
  const server = await listen(t, {}, (req, res) => {
    if (req.url === '/after') patch(res)
    req.session.hit = true
    res.write('hello, ')
    res.end('world')
  }, (req, res) => {
    if (req.url === '/before') patch(res)
  })
  for (const path of ['/before', '/after']) {
    const answer = await ask(server, nobody(), path)
    assert.deepStrictEqual([answer.body, answer.said], ['HELLO, WORLD', { set: { hit: true } }], path)
  }
})

test('what comes too late is an error that names the key', async (t) => {
  const lines = errors(t)
  const said = []
  const server = await listen(t, quiet, (req, res) => {
    req.session.early = 1
    res.write('x')
    const note = (err) => said.push(err.message)
    if (req.url === '/destroy') req.session.destroy(note)
    else if (req.url === '/regenerate') req.session.regenerate(note)
    else if (req.url === '/reload') req.session.reload(note)
    else if (req.url === '/big') req.session.late = 1n
    else req.session['too late'] = { a: 1 }
    if (req.url === '/save') req.session.save(note)
    if (req.url === '/quiet') req.session.save()
    setImmediate(() => res.end())
  })
  for (const path of ['/', '/destroy', '/regenerate', '/reload', '/save', '/quiet', '/big']) {
    assert.deepStrictEqual((await ask(server, nobody(), path)).said, { set: { early: 1 } }, path)
  }
  await new Promise((resolve) => server.close(resolve))
  assert.strictEqual(said.length, 4)
  for (const text of said) assert.match(text, /after the response had begun/)
  const changed = 'changed after the response had begun, and not saved: req.session["too late"]'
  assert.deepStrictEqual(lines.filter((line) => line.includes(changed)).map((line) => line.split(' ')[2]).sort(), ['/:', '/quiet:', '/save:'])
  assert.ok(lines.some((line) => line.includes('req.session.late is a BigInt')), lines.join('\n'))
  assert.ok(lines.some((line) => line.includes('GET /quiet: save()')), lines.join('\n'))
})

test('without Caddy in front', async (t) => {
  const warnings = t.mock.method(process, 'emitWarning', () => {})
  const server = await listen(t, {}, (req, res) => {
    req.session.n = (req.session.n || 0) + 1
    res.end(String(req.session.n) + typeof req.sessionID)
  })
  for (let i = 0; i < 2; i++) {
    const answer = await ask(server, {})
    assert.deepStrictEqual([answer.body, answer.said], ['1string', {}])
  }
  assert.strictEqual(warnings.mock.callCount(), 1)
  // Once Caddy is known to be there, a request that may begin no session is none without it.
  await ask(server, nobody())
  assert.deepStrictEqual((await ask(server, {})).said, { set: { n: 1 } })

  const strict = await listen(t, { required: true })
  assert.strictEqual((await ask(strict, {})).status, 500)
  assert.strictEqual((await ask(strict, nobody())).status, 200)
  const headers = came({})
  delete headers['x-session-data']
  assert.match((await ask(strict, headers)).body, /X-Session-Data did not come/)
})

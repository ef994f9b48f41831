// What is different with X-Session-Api, against a small API on a Unix socket.

'use strict'

const assert = require('assert')
const fs = require('fs')
const http = require('http')
const os = require('os')
const path = require('path')
const { test } = require('node:test')
const { session, ID, NEW_ID, came, nobody, listen, ask, errors } = require('./testing')

const quiet = { resave: false, saveUninitialized: false }

// startAPI serves one session, whose data may be undefined. It has what was asked,
// and may be told how to answer.
async function startAPI (t, data) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'api'))
  const api = { asked: [], data, id: ID, version: 1, fail: undefined }
  const server = http.createServer(async (req, res) => {
    let text = ''
    for await (const chunk of req) text += chunk
    const body = text && JSON.parse(text)
    const operation = req.url.replace('/Capability_of-a-test', '')
    api.asked.push(`${req.method} ${operation}${text && ' ' + text}`.trim())
    const answer = (status, body) => {
      res.writeHead(status, { 'Content-Type': 'application/json' })
      res.end(JSON.stringify(body))
    }
    assert.strictEqual(req.headers.host, 'localhost')
    if (operation === req.url) return answer(401, { error: 'over' })
    if (api.fail) return answer(api.fail, { error: 'as told' })
    if (api.data === undefined && req.method !== 'PUT' && req.method !== 'PATCH') return answer(404, { error: 'none' })
    if (api.data === undefined) Object.assign(api, { data: {}, id: NEW_ID })
    if (req.method === 'PUT') Object.assign(api.data, body)
    if (req.method === 'PATCH') merge(api.data, body)
    if (operation.startsWith('/clear')) Object.assign(api, { data: {}, id: 'C'.repeat(22) })
    if (req.method === 'DELETE') {
      api.data = undefined
      res.writeHead(204)
      return res.end()
    }
    const head = { id: api.id, version: ++api.version, created: 1, expires: 2, user: api.user, signed_in: api.signedIn }
    answer(200, req.method === 'GET' ? Object.assign(head, { data: api.data }) : head)
  })
  const socket = path.join(dir, 's ocket')
  await new Promise((resolve) => server.listen(socket, resolve))
  t.after(() => {
    server.close()
    if (server.closeAllConnections) server.closeAllConnections()
    fs.rmSync(dir, { recursive: true })
  })
  api.header = { 'x-session-api': `http+unix://${encodeURIComponent(socket)}/Capability_of-a-test` }
  return api
}

function merge (data, patch) {
  for (const key of Object.keys(patch)) {
    if (patch[key] === null) delete data[key]
    else if (typeof patch[key] !== 'object' || Array.isArray(patch[key])) data[key] = patch[key]
    else merge(data[key] = data[key] || {}, patch[key])
  }
}

test('save stores at once, and the head says what is new since', async (t) => {
  const api = await startAPI(t, { n: 1, deep: { a: 1 } })
  const server = await listen(t, quiet, (req, res) => {
    req.session.n = 2
    req.session.deep.b = 2
    req.session.save((err) => {
      assert.ifError(err)
      assert.deepStrictEqual(api.data, { n: 2, deep: { a: 1, b: 2 } })
      if (req.url === '/more') req.session.more = true
      res.end()
    })
  })
  assert.deepStrictEqual((await ask(server, came({ n: 1, deep: { a: 1 } }, api.header))).said, {})
  assert.deepStrictEqual(api.asked.splice(0), ['PATCH  {"n":2,"deep":{"b":2}}'])
  assert.deepStrictEqual((await ask(server, came({ n: 1, deep: { a: 1 } }, api.header), '/more')).said, { set: { more: true } })
})

test('save begins a session', async (t) => {
  const api = await startAPI(t)
  const server = await listen(t, quiet, (req, res) => {
    if (req.url === '/null') req.session.nothing = null
    req.session.save(() => res.end(req.sessionID + ' ' + req.session.id))
  })
  let answer = await ask(server, nobody(api.header))
  assert.deepStrictEqual([answer.body, answer.said, api.data], [NEW_ID + ' ' + NEW_ID, {}, {}])
  api.data = undefined
  answer = await ask(server, nobody(api.header), '/null')
  assert.deepStrictEqual([answer.said, api.data], [{}, { nothing: null }])
})

test('a session that is to have a secure cookie does not begin over plain HTTP', async (t) => {
  t.mock.method(process, 'emitWarning', () => {})
  const api = await startAPI(t)
  const server = await listen(t, { ...quiet, cookie: { secure: true } }, (req, res) => {
    req.session.n = 1
    req.session.save(() => res.end())
  })
  assert.deepStrictEqual((await ask(server, nobody(api.header))).said, {})
  assert.deepStrictEqual(api.asked, [])
})

test('maxAge goes with the head', async (t) => {
  const api = await startAPI(t, {})
  const server = await listen(t, { ...quiet, cookie: { maxAge: 60000 } }, (req, res) => {
    req.session.n = 1
    req.session.save(() => res.end())
  })
  assert.deepStrictEqual((await ask(server, came({}, api.header))).said, { control: 'max-age=60' })
  assert.deepStrictEqual(api.data, { n: 1 })
})

test('reload gets what others have changed, and does not undo it', async (t) => {
  const api = await startAPI(t, { n: 5, save: 'data', list: [1] })
  const server = await listen(t, quiet, (req, res) => {
    const first = req.session
    req.sessionStore.get(req.sessionID, (err, data) => { // a look changes nothing
      assert.ifError(err)
      assert.strictEqual(data.n, 5)
      assert.strictEqual(req.session.n, 1)
      first.reload((err) => {
        assert.ifError(err)
        assert.notStrictEqual(req.session, first)
        req.session.n++
        if (req.url === '/head') return res.end()
        req.session.save((err) => {
          assert.ifError(err)
          res.end()
        })
      })
    })
  })
  assert.deepStrictEqual((await ask(server, came({ n: 1 }, api.header), '/head')).said, { set: { n: 6 } })
  assert.deepStrictEqual((await ask(server, came({ n: 1 }, api.header))).said, {})
  assert.deepStrictEqual(api.data, { n: 6, save: 'data', list: [1] })
  api.data = undefined
  const gone = await listen(t, quiet, (req, res) => req.session.reload((err) => res.end(err.message)))
  assert.strictEqual((await ask(gone, came({ n: 1 }, api.header))).body, 'failed to load session')
})

test('data that headers do not hold are fetched', async (t) => {
  const large = 'x'.repeat(1 << 20)
  const api = await startAPI(t, { large, n: 1 })
  const server = await listen(t, quiet, (req, res) => {
    if (req.session.n) req.session.n++
    res.end(String(req.session.large && req.session.large.length))
  })
  const headers = came({}, api.header)
  delete headers['x-session-data']
  let answer = await ask(server, headers)
  assert.deepStrictEqual([answer.body, answer.said, api.asked], [String(large.length), { set: { n: 2 } }, ['GET']])
  api.fail = 503
  answer = await ask(server, headers)
  assert.strictEqual(answer.status, 500)
  assert.match(answer.body, /the session API answers GET \/ with 503: as told/)
})

test('what changes after the head is stored before the response ends', async (t) => {
  const api = await startAPI(t, { n: 1 })
  const lines = errors(t)
  const server = await listen(t, quiet, (req, res) => {
    if (req.url !== '/untouched') req.session.n = 2
    res.write('x')
    req.session.late = req.url
    res.end('y')
  })
  let answer = await ask(server, came({ n: 1 }, api.header))
  assert.deepStrictEqual([answer.body, answer.said, api.asked.splice(0)], ['xy', { set: { n: 2 } }, ['PATCH ?begun {"late":"/"}']])
  answer = await ask(server, came({ n: 1 }, api.header), '/untouched')
  assert.deepStrictEqual([answer.body, answer.said, api.asked.splice(0)], ['xy', {}, ['PATCH  {"late":"/untouched"}']])
  assert.deepStrictEqual(lines, [])
  api.fail = 409
  assert.strictEqual((await ask(server, nobody(api.header))).body, 'xy')
  await new Promise((resolve) => server.close(resolve))
  assert.match(lines.join('\n'), /answers PATCH \/ with 409: as told[^]*not saved: req\.session\.late/)
})

test('the end of the response waits for what is being saved', async (t) => {
  const api = await startAPI(t, { n: 1 })
  const server = await listen(t, quiet, (req, res) => {
    req.session.n = 2
    req.session.save()
    res.end('x')
    res.end('ignored')
  })
  const answer = await ask(server, came({ n: 1 }, api.header))
  assert.deepStrictEqual([answer.body, answer.said, api.asked], ['x', {}, ['PATCH  {"n":2}']])
})

test('an error while the end waits is still answered', async (t) => {
  const api = await startAPI(t, { n: 1 })
  const server = await listen(t, quiet, (req, res) => {
    req.session.n = 2
    req.session.save()
    req.session.big = 1n
    res.end('x')
  })
  const answer = await ask(server, came({ n: 1 }, api.header))
  assert.strictEqual(answer.status, 500)
  assert.match(answer.body, /req\.session\.big is a BigInt/)
})

test('regenerate and save, as one signs in', async (t) => {
  const api = await startAPI(t, { n: 1 })
  const server = await listen(t, quiet, (req, res) => {
    req.session.regenerate((err) => {
      assert.ifError(err)
      req.session.user = 'alice'
      req.session.save((err) => {
        assert.ifError(err)
        req.session.after = true
        res.end(req.session.id)
      })
    })
  })
  const answer = await ask(server, came({ n: 1 }, api.header))
  assert.deepStrictEqual([answer.body, answer.said, api.data], ['C'.repeat(22), { set: { after: true } }, { user: 'alice' }])
})

test('after the head, destroy, touch and regenerate ask the API', async (t) => {
  const api = await startAPI(t, { n: 1 })
  const server = await listen(t, quiet, (req, res) => {
    const done = (err) => res.end(String(err && err.message))
    assert.strictEqual(req.session.n, 1)
    res.write('x')
    if (req.url === '/destroy') req.session.destroy(done)
    if (req.url === '/regenerate') req.session.regenerate(done)
    if (req.url === '/touch') req.session.touch().save(done)
  })
  for (const [path, asked] of [['/touch', 'POST /touch'], ['/regenerate', 'POST /clear'], ['/destroy', 'DELETE']]) {
    const answer = await ask(server, came({ n: 1 }, api.header), path)
    assert.deepStrictEqual([answer.body, answer.said, api.asked.splice(0)], ['xundefined', {}, [asked]], path)
    api.id = ID
  }
  api.fail = 409
  assert.match((await ask(server, came({ n: 1 }, api.header), '/regenerate')).body, /answers POST \/clear with 409: as told/)
})

test('before the head, destroy goes with it', async (t) => {
  const api = await startAPI(t, { n: 1 })
  const server = await listen(t, quiet, (req, res) => req.session.destroy(() => res.end()))
  assert.deepStrictEqual((await ask(server, came({ n: 1 }, api.header))).said, { control: 'destroy' })
  assert.deepStrictEqual(api.asked, [])
})

test('errors say what and why, and not the capability', async (t) => {
  const api = await startAPI(t, { n: 1 })
  const server = await listen(t, quiet, (req, res) => {
    req.session.n = 2
    req.session.save((err) => res.end(String(err && err.message)))
  })
  const dead = { 'x-session-api': 'http://127.0.0.1:1/Capability_of-a-test' }
  api.fail = 422
  const answers = [await ask(server, came({ n: 1 }, api.header)), await ask(server, came({ n: 1 }, dead)), await ask(server, came({ n: 1 }, { 'x-session-api': 'Capability' }))]
  assert.deepStrictEqual(answers.map(({ body }) => body.replace(/^[^:]*: (GET \/: )?/, '')), [
    'the session API answers PATCH / with 422: as told',
    'the session API does not answer: connect ECONNREFUSED 127.0.0.1:1',
    'X-Session-Api is no URL of a session API'
  ])
  // What is not saved goes with the head.
  for (const { said } of answers) assert.deepStrictEqual(said, { set: { n: 2 } })
})

test('the handshake of a WebSocket, and what its handlers do', async (t) => {
  const api = await startAPI(t, { count: 1 })
  const middleware = session(quiet)
  const req = { headers: came({ count: 1 }, api.header), method: 'GET', url: '/', socket: new (require('events').EventEmitter)() }
  await new Promise((resolve) => middleware(req, {}, resolve)) // as the manual of ws has it
  assert.strictEqual(req.session.count, 1)
  api.data.count = 6
  const saved = () => new Promise((resolve, reject) => req.session.save((err) => err ? reject(err) : resolve()))
  await new Promise((resolve) => req.session.reload(resolve))
  req.session.count++
  await saved()
  req.session.count++
  await saved()
  assert.deepStrictEqual(api.data, { count: 8 })
  const lines = errors(t)
  req.session.forgotten = true
  req.socket.emit('close')
  assert.match(lines.join(), /not saved: req\.session\.forgotten/)
})

test('keys with the name of a method are data', async (t) => {
  const server = await listen(t, quiet, (req, res) => {
    req.session.save = {}
    req.session.resetMaxAge = 'x'
    req.session.cookie = null
    res.end()
  })
  const answer = await ask(server, nobody())
  assert.deepStrictEqual([answer.status, answer.said], [200, { set: { save: {}, resetMaxAge: 'x' } }])
})

test('whose request is over goes on by another one of the session, unless the user signed in since', async (t) => {
  const api = await startAPI(t, { n: 1 })
  const middleware = session(quiet)
  const open = (capability, more) => {
    const header = { 'x-session-api': api.header['x-session-api'].replace(/[^/]*$/, capability) }
    const req = { headers: came({ n: 1 }, Object.assign(header, more)), method: 'GET', url: '/', socket: new (require('events').EventEmitter)() }
    return new Promise((resolve) => middleware(req, {}, () => resolve(req)))
  }
  const over = await open('Capability_that-is-over')
  const other = await open('Capability_of-a-test')
  const signedIn = await open('Capability_that-is-over', { 'x-session-user': 'alice' })
  t.after(() => [over, other, signedIn].forEach((req) => req.socket.emit('close')))
  const failure = (method, req = over) => new Promise((resolve) => req.session[method]((err) => resolve(err && err.message)))
  const since = Math.floor(Date.now() / 1000)

  for (const known of [{}, { user: 'alice', signedIn: since - 60 }]) {
    Object.assign(api, known)
    api.data.n++
    assert.strictEqual(await failure('reload'), undefined)
    assert.strictEqual(over.session.n, api.data.n)
  }

  // Somebody who had the cookie before is not who has signed in.
  api.signedIn = since + 1
  api.data.secret = 'of the user'
  assert.match(await failure('reload'), /answers GET \/ with 401/)
  assert.strictEqual(over.session.secret, undefined)
  over.session.n = 4
  assert.match(await failure('save'), /answers PATCH \/ with 401/)
  assert.strictEqual(api.data.n, 3)

  assert.strictEqual(await failure('reload', signedIn), undefined)
  assert.strictEqual(signedIn.session.secret, 'of the user')
})

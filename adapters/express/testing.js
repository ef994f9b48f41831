// What the tests share: a server with the adapter, and what a client behind Caddy
// would send to it.

'use strict'

const http = require('http')
const session = require('./')

const ID = 'AAAAAAAAAAAAAAAAAAAAAA'
const NEW_ID = 'BBBBBBBBBBBBBBBBBBBBBB'

// came returns the request headers of a session with these data.
function came (data, more) {
  return Object.assign({
    'x-session-id': ID,
    'x-session-version': '1',
    'x-session-data': JSON.stringify(data).replace(/[\u007f-\uffff]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')),
    'x-session-new-id': NEW_ID
  }, more)
}

// nobody returns those of a request without a session.
function nobody (more) {
  return Object.assign({ 'x-session-new-id': NEW_ID }, more)
}

// listen starts a server for the length of a test. setup runs before the adapter.
// What goes to next() is answered with a 500 and its message, or is in
// server.errors if it came too late.
async function listen (t, options, handler, setup = () => {}) {
  const middleware = session(options)
  const server = http.createServer((req, res) => {
    const next = (err) => {
      if (err && res.headersSent) return server.errors.push(err.message)
      if (!err) {
        try {
          return (handler || ((req, res) => res.end()))(req, res)
        } catch (thrown) {
          err = thrown
        }
      }
      res.statusCode = 500
      res.end(err.message)
    }
    setup(req, res)
    middleware(req, res, next)
  })
  server.errors = []
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    if (server.closeAllConnections) server.closeAllConnections()
  })
  return server
}

// ask sends a request and returns the response, with what it says of the session
// parsed.
function ask (server, headers, path = '/', method = 'GET') {
  return new Promise((resolve, reject) => {
    const { port } = server.address()
    http.request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (res) => {
      let body = ''
      res.setEncoding('utf8')
      res.on('data', (chunk) => { body += chunk })
      res.on('end', () => {
        const said = {}
        for (const name of ['set', 'put', 'control']) {
          const value = res.headers['x-session-' + name]
          if (value !== undefined) said[name] = name === 'control' ? value : JSON.parse(value)
        }
        resolve({ status: res.statusCode, headers: res.headers, raw: res.rawHeaders, body, said })
      })
    }).on('error', reject).end()
  })
}

// errors collects what goes to console.error while a test runs.
function errors (t) {
  const lines = []
  t.mock.method(console, 'error', (line) => lines.push(String(line)))
  return lines
}

module.exports = { session, ID, NEW_ID, came, nobody, listen, ask, errors }

// An application with express-session and connect-redis, with their defaults
// and one process. It answers itself, or, with an upstream, passes requests on.
// With "adapter" it has adapters/express in the place of both; with "none" in the
// place of Redis's port it has no sessions.
//
//	node server.js PORT REDIS [UPSTREAM|adapter]     ports of 127.0.0.1

import http from 'node:http'
import express from 'express'
import expressSession from 'express-session'
import { RedisStore } from 'connect-redis'
import { createClient } from 'redis'

const [port, redis, how] = process.argv.slice(2)
const bare = redis === 'none'
const adapter = how === 'adapter' && (await import('./adapter.cjs')).default
const upstream = !adapter && how
let store
if (!adapter && !bare) {
  const client = createClient({ url: `redis://127.0.0.1:${redis}` })
  client.on('error', (error) => console.error(error))
  await client.connect()
  store = new RedisStore({ client, prefix: upstream ? 'express-proxy:' : 'express:' })
}

const app = express()
app.disable('x-powered-by')
if (!bare) {
  app.use((adapter || expressSession)({
    store,
    secret: 'of a benchmark, on 127.0.0.1 only',
    resave: false,
    saveUninitialized: false,
  }))
}

app.get('/login', (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error)
    Object.assign(req.session, { user: 'alice', roles: ['admin', 'editor'], lang: 'fr', return: '/page/of/some/length' })
    res.status(204).end()
  })
})

if (upstream) {
  // By hand, because that is the fastest that Node has.
  const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 256 })
  app.use((req, res) => {
    const headers = { ...req.headers }
    delete headers['x-session-user']
    delete headers.connection
    if (req.session?.user) headers['x-session-user'] = req.session.user
    const out = http.request({ agent, host: '127.0.0.1', port: upstream, method: req.method, path: req.url, headers }, (answer) => {
      const { connection, 'keep-alive': keepAlive, ...rest } = answer.headers
      res.writeHead(answer.statusCode, rest)
      answer.pipe(res)
    })
    out.on('error', () => {
      if (res.headersSent) return res.destroy()
      res.status(502).end()
    })
    req.pipe(out)
  })
} else {
  const page = 'It is a page of sixty-four bytes, and then the same once again.\n'.repeat(16)
  app.disable('etag') // a hash of every page is not what is compared
  app.get('/whoami', (req, res) => res.type('text').send(`session: ${req.session?.user ?? ''}\n`))
  app.get('/', (req, res) => {
    if (req.session?.user !== 'alice' && req.get('cookie')) return res.status(500).end()
    res.type('text').send(page)
  })
}

app.listen(Number(port), '127.0.0.1')

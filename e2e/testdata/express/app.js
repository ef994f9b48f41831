// One application in Express 4, Express 5, Koa and Fastify, written for
// express-session, which package.json takes from adapters/express. It listens on
// four ports and prints them as one line of JSON.

'use strict'

const http = require('http')
const path = require('path')
const cookieParser = require('cookie-parser')
const csurf = require('csurf')
const flash = require('connect-flash')
const session = require('express-session')
const { doubleCsrf } = require('csrf-csrf')
const { Passport } = require('passport')
const { Strategy } = require('passport-local')
const { Server } = require('socket.io')

const options = { secret: 'keyboard cat', resave: false, saveUninitialized: false, store: {}, name: 'connect.sid' }

// together lets requests go on when there are n of them.
let waiting = []
function together (n, go) {
  waiting.push(go)
  if (waiting.length === n) for (const go of waiting.splice(0)) go()
}

function application (express) {
  const app = express()
  const sessions = session(options)
  const passport = new Passport()
  passport.use(new Strategy((name, password, done) => done(null, password === 'secret' && { name })))
  passport.serializeUser((user, done) => done(null, user.name))
  passport.deserializeUser((name, done) => done(null, { name }))

  app.use(cookieParser(), express.urlencoded({ extended: false }), sessions, passport.initialize(), passport.session(), flash())

  app.get('/who', (req, res) => res.json({
    user: req.user ? req.user.name : null,
    id: req.session.id,
    kept: Object.assign({}, req.session, { cookie: undefined })
  }))
  app.post('/login', passport.authenticate('local', { successRedirect: 'who', failureRedirect: 'messages', failureFlash: 'wrong password' }))
  app.post('/logout', (req, res, next) => req.logout((err) => err ? next(err) : res.redirect('who')))
  app.get('/messages', (req, res) => res.json(req.flash()))
  app.post('/flash', (req, res) => {
    req.flash('info', 'Zoë saved it')
    res.redirect('messages')
  })
  app.get('/add', (req, res) => {
    const { key, of } = req.query
    req.session.cart = req.session.cart || {}
    together(Number(of || 1), () => {
      req.session[key] = true
      req.session.cart[key] = { n: 1 }
      res.end()
    })
  })
  app.get('/destroy', (req, res) => req.session.destroy((err) => res.end(String(err))))
  app.get('/remember', (req, res) => {
    req.session.cookie.maxAge = Number(req.query.ms)
    res.json(req.session.cookie)
  })
  app.get('/touch', (req, res) => res.json(req.session.touch().cookie))
  app.get('/cookie', (req, res) => res.json(req.session.cookie))
  app.get('/saved', (req, res) => req.session.save((err) => res.end(String(err))))
  app.get('/reload', (req, res) => {
    req.session.lost = true
    req.session.reload((err) => res.end(String(err)))
  })
  app.get('/late', (req, res) => {
    res.write('x')
    req.session.late = true
    res.end()
  })
  app.get('/large', (req, res) => {
    req.session.large = 'x'.repeat(req.query.size)
    req.session.save((err) => res.end(String(err)))
  })
  app.get('/length', (req, res) => res.end(String(req.session.large && req.session.large.length)))
  app.get('/null', (req, res) => {
    req.session.nothing = NaN
    req.session.deep = { a: { b: null } }
    res.end()
  })
  // As static files are sent by default: public, max-age=0.
  app.use('/files', (req, res, next) => {
    req.session.files = (req.session.files || 0) + 1
    next()
  }, express.static(__dirname))
  app.get('/file', (req, res) => {
    req.session.files = (req.session.files || 0) + 1
    res.sendFile(path.join(__dirname, 'package.json'))
  })

  const synchronized = csurf()
  app.get('/csurf', synchronized, (req, res) => res.end(req.csrfToken()))
  app.post('/csurf', synchronized, (req, res) => res.end('done'))
  const { doubleCsrfProtection, generateCsrfToken } = doubleCsrf({
    getSecret: () => 'of a test',
    getSessionIdentifier: (req) => req.session.id,
    cookieName: 'csrf',
    cookieOptions: { secure: false },
    getCsrfTokenFromRequest: (req) => req.body._csrf
  })
  app.get('/csrf-csrf', (req, res) => {
    req.session.form = true // else the next request may have another id
    res.end(generateCsrfToken(req, res))
  })
  app.post('/csrf-csrf', doubleCsrfProtection, (req, res) => res.end('done'))
  app.use((err, req, res, next) => res.status(err.status || err.statusCode || 500).end(err.message))

  const server = http.createServer(app)
  const io = new Server(server)
  io.engine.use(sessions)
  io.on('connection', (socket) => {
    const { session } = socket.request
    // As the manual of socket.io has it.
    socket.on('count', (done) => {
      const { request } = socket
      request.session.reload((err) => {
        if (err) return done(err.message)
        request.session.count = (request.session.count || 0) + 1
        request.session.save((err) => done(err ? err.message : request.session.count))
      })
    })
    session.save((err) => socket.emit('hello', session.passport && session.passport.user, session.id, String(err && err.message)))
  })
  return server
}

// count is what Koa and Fastify do, each in its own way of saying it.
function count (kept) {
  kept.count = (kept.count || 0) + 1
  return { count: kept.count, user: kept.passport ? kept.passport.user : null }
}

function koa () {
  const Koa = require('koa')
  const app = new Koa()
  app.use(session.koa(options))
  app.use((ctx) => {
    if (ctx.path === '/destroy') {
      ctx.session.destroy()
      ctx.body = {}
    } else {
      ctx.body = count(ctx.session)
    }
  })
  return app.callback()
}

async function fastify () {
  let server
  const app = require('fastify')({ serverFactory: (handler) => { server = http.createServer(handler); return server } })
  app.register(session.fastify, options)
  app.get('/count', async (request) => count(request.session))
  await app.ready()
  return server
}

async function main () {
  const servers = [application(require('express')), application(require('express4')), http.createServer(koa()), await fastify()]
  const ports = []
  for (const server of servers) {
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    ports.push(server.address().port)
  }
  console.log(JSON.stringify(ports))
}

main()

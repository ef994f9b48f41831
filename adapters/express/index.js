// Takes the place of express-session: the same call, the same options, the same
// req.session, in the session that Caddy keeps.
//
// Caddy sends the session's data in request headers. What has changed by the time
// the response begins goes back in response headers, as differences, and is stored
// before the client sees the first byte. So there is no store to wait for, and
// nothing can be saved once the head of the response is out.
//
// Where the request has X-Session-Api, Caddy is asked, too: to save at once, for
// what others have changed, for data that headers do not hold, and for what comes
// after the head.
//
// The application must be reachable through Caddy only: it believes what it is
// told here. The manual is docs/adapters/express.md.

'use strict'

const http = require('http')
const https = require('https')
const { EventEmitter } = require('events')
const { randomBytes } = require('crypto')
const { inherits } = require('util')

const NAME = 'caddy-session-express'
const EXCHANGE = Symbol(NAME)
const UNTOUCHED = Symbol('untouched')
const ASKED = Symbol('asked')

const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) }
const askTimeout = 30000 // milliseconds without an answer of the session API

module.exports = session
Object.assign(session, { Session, Cookie, Store, MemoryStore, koa, fastify })

// session returns the middleware. It throws a TypeError where express-session does.
function session (options) {
  const settings = Object.assign({}, options)
  if (settings.resave === undefined) settings.resave = true
  if (settings.saveUninitialized === undefined) settings.saveUninitialized = true
  const { genid, secret, unset } = settings
  if (genid && typeof genid !== 'function') throw new TypeError('genid option must be a function')
  if (unset && unset !== 'destroy' && unset !== 'keep') throw new TypeError('unset option must be "destroy" or "keep"')
  if (Array.isArray(secret) && secret.length === 0) throw new TypeError('secret option array must contain one or more strings')
  // Nothing is signed with it. But one that is named and empty is an environment
  // variable that is not set, and then express-session answers nobody.
  const secretIsEmpty = 'secret' in settings && !secret

  // Another store is not used: Caddy has one.
  const store = settings.store instanceof MemoryStore ? settings.store : new MemoryStore()
  let connected = true
  store.on('disconnect', () => { connected = false })
  store.on('connect', () => { connected = true })

  let behindCaddy = false // whether any request was

  return function session (req, res, next) {
    const exchangeBefore = req[EXCHANGE]
    if (exchangeBefore ? exchangeBefore.read() : req.session) return next()
    if (exchangeBefore) {
      exchangeBefore.expose()
      return next()
    }
    if (!connected) return next()
    const cookie = (typeof settings.cookie === 'function' ? settings.cookie(req) : settings.cookie) || {}
    if (!pathname(req).startsWith(cookie.path || '/')) return next()
    if (secretIsEmpty && !req.secret) return next(new Error('secret option required for sessions'))

    const id = req.headers['x-session-id']
    if (id !== undefined || req.headers['x-session-new-id'] !== undefined) {
      behindCaddy = true
    } else if (!behindCaddy) {
      const what = `${NAME}: neither X-Session-Id nor X-Session-New-Id came: there is no Caddy with "session" in front of ` +
        'this application, or not for this path, or its "request_headers" lack id or new_id'
      if (settings.required) return next(new Error(what))
      warnOnce(what + '. Sessions are not kept')
    }
    const exchange = new Exchange(req, res, next, settings, cookie, store, behindCaddy)
    if (id !== undefined && exchange.base === undefined && !exchange.api) {
      return next(new Error(`${NAME}: X-Session-Data did not come with the session: "request_headers" must have data, and "forward" must not be used`))
    }
    beforeHead(res, () => exchange.begin())
    if (exchange.api) beforeEnd(res, () => exchange.finish(), next)
    // A store whose method the application has replaced expects to be asked. Data
    // that headers do not hold are with the API.
    if (id === undefined || exchange.base !== undefined && store.get === MemoryStore.prototype.get) return next()
    store.get(id, (err, data) => {
      if (err && err.code !== 'ENOENT') return next(err)
      try {
        if (data && !err) {
          store.createSession(req, data)
        } else {
          exchange.end()
          exchange.generate()
        }
      } catch (err) {
        return next(err)
      }
      next()
    }, exchange)
  }
}

// accessor is req.session until an application deletes it. One for all requests:
// with functions of their own, each would have a shape of its own.
const accessor = {
  configurable: true,
  enumerable: true,
  get () {
    const exchange = this[EXCHANGE]
    return exchange.session === UNTOUCHED ? exchange.load() : exchange.session
  },
  set (value) { this[EXCHANGE].session = value }
}

// Exchange is one request with its response, and what becomes of the session in
// between.
class Exchange {
  constructor (req, res, next, settings, cookieOptions, store, kept) {
    this.req = req
    this.res = res
    this.next = next
    this.settings = settings
    this.cookieOptions = cookieOptions
    this.store = store
    this.kept = kept // false: nobody is in front who would keep the session
    this.id = req.headers['x-session-id'] // of the session that came, or that the API has begun
    this.base = req.headers['x-session-data'] // the data that Caddy has, as JSON, if there is a session
    this.expires = req.headers['x-session-expires']
    this.api = req.headers['x-session-api'] // the URL of the session API, if there is one
    this.work = undefined // a promise while the API is asked
    this.signedIn = req.headers['x-session-user'] !== undefined // for sure: the header may not be wanted
    this.since = Math.floor(Date.now() / 1000) // when the request came, as the API has times
    this.told = false // the head of the response says something about the session

    this.session = undefined // what req.session is, while that is our accessor
    this.original = undefined // the data when they were loaded, as JSON
    this.maxAge = undefined // originalMaxAge of the cookie then
    this.limited = false // whether the session that came had one
    this.aside = Object.create(null) // data under names that req.session uses itself
    this.refused = false // whether save() has said that the data are not JSON
    this.saved = null // the data to be kept, as JSON; null: as they came
    this.ended = false // the session that came does not go on
    this.gone = false // nor is there another one in its place yet
    this.restarted = false // the application has called touch()
    this.begun = false // the head of the response is out
    this.concluding = false // that is being decided
    this.sent = undefined // the data at that moment, as JSON

    req.sessionStore = store
    req.sessionID = this.id === undefined ? this.newID() : this.id
    req[EXCHANGE] = this
    this.expose()
    // Of a WebSocket's handshake, the connection is what ends.
    const lasting = typeof res.once === 'function' ? res : this.api && req.socket
    if (lasting) {
      store.exchanges.add(this)
      lasting.once('close', () => this.close())
    }
  }

  // expose makes req.session what it is before it is touched.
  expose () {
    this.session = UNTOUCHED
    Object.defineProperty(this.req, 'session', accessor)
  }

  // newID is the id that a session begun by this response has.
  newID () {
    const id = this.req.headers['x-session-new-id']
    if (id !== undefined) return id
    if (this.id !== undefined) warnOnce(`${NAME}: X-Session-New-Id did not come, so the id of a new session is not known: write new_id into "request_headers"`)
    return randomBytes(16).toString('base64url')
  }

  // read returns req.session without loading it.
  read () {
    const property = Object.getOwnPropertyDescriptor(this.req, 'session')
    return property && property.get === accessor.get ? this.session : this.req.session
  }

  // load makes the session object of what came, or was saved since.
  load () {
    const data = this.stored()
    if (data) this.store.createSession(this.req, data)
    else this.generate()
    return this.session
  }

  // generate begins a session. It is stored when it is saved.
  generate () {
    if (this.gone) this.req.sessionID = this.newID()
    this.gone = false
    const session = new Session(this.req)
    session.cookie = this.newCookie()
    this.adopt(session)
    this.req.session = session
  }

  // adopt remembers how a session object began.
  adopt (session) {
    if (this.original !== undefined && !this.ended) return
    this.maxAge = session.cookie.originalMaxAge
    if (this.id !== undefined && !this.ended) this.limited = typeof this.maxAge === 'number'
    this.original = this.snapshot(session)
  }

  // stored returns the session as it would be in a store now, or undefined.
  stored () {
    const came = this.id === undefined || this.ended ? null : this.base
    const text = this.saved === null ? came : this.saved
    if (text === null) return undefined
    const data = JSON.parse(text)
    this.aside = Object.create(null)
    const session = { cookie: this.newCookie(data.cookie).toJSON() }
    for (const key of Object.keys(data)) {
      if (isOurs(key)) this.aside[key] = data[key]
      else session[key] = data[key]
    }
    return session
  }

  // fetch asks the API for the session as it is now, or undefined. It becomes that
  // of the request when createSession() gets it.
  async fetch () {
    const answer = await this.ask('GET', '')
    if (answer === undefined) return undefined
    this.expires = answer.expires
    const session = { cookie: this.newCookie(answer.data.cookie).toJSON() }
    for (const key of Object.keys(answer.data)) {
      if (!isOurs(key)) session[key] = answer.data[key]
    }
    Object.defineProperty(session, ASKED, { value: answer })
    return session
  }

  // refresh goes on with what fetch() got.
  refresh (answer) {
    if (answer.id !== this.id) return
    this.became(answer, JSON.stringify(answer.data))
    this.original = undefined
    this.aside = Object.create(null)
    for (const key of Object.keys(answer.data)) {
      if (isOurs(key)) this.aside[key] = answer.data[key]
    }
  }

  // became takes over what the API says of the session, and its data.
  became (answer, text) {
    const { id, expires } = answer
    const session = this.read()
    if (id !== this.req.sessionID && session instanceof Session) Object.defineProperty(session, 'id', { value: id })
    this.id = this.req.sessionID = id
    this.expires = expires
    this.base = text
    this.saved = null
    this.ended = this.gone = false
  }

  // commit has Caddy save data, as JSON, now.
  async commit (text) {
    if (this.ended && this.id !== undefined) {
      const answer = await this.ask('POST', '/clear')
      if (answer === undefined) this.id = undefined // it has ended already
      else this.became(answer, '{}')
    }
    const begins = this.id === undefined
    const { set, put } = difference(begins ? {} : JSON.parse(this.base), JSON.parse(text))
    let answer
    if (put !== undefined || begins && set === undefined) answer = await this.ask('PUT', '', put || {})
    if (set !== undefined) answer = await this.ask('PATCH', '', set)
    if (answer !== undefined) this.became(answer, text)
    this.original = text
    this.restarted = true
  }

  // replace gives the browser another session without data.
  async replace () {
    const answer = this.id === undefined ? undefined : await this.ask('POST', '/clear')
    if (answer !== undefined) this.became(answer, '{}')
    this.original = undefined
    this.aside = Object.create(null)
    this.generate()
  }

  // ask asks the API, and returns what it answers, or undefined where there is no
  // session. A WebSocket that began as polling has another request by now.
  async ask (method, path, body) {
    if (this.told) this.res.flushHeaders() // else Caddy would wait for it
    let answer = await ask(this.api, method, this.told ? path + '?begun' : path, body)
    if (answer.status === 401) answer = await this.askByAnother(method, path, body) || answer
    if (answer.status < 300) return answer.body || {}
    if (answer.status === 404) return undefined
    throw new Error(`${NAME}: ${this.req.method} ${pathname(this.req)}: the session API answers ${method} ${path || '/'} with ${answer.status}: ${answer.body && answer.body.error}`)
  }

  // askByAnother asks by another request of the session that is open. Between two
  // polls there is none: then it waits a second at most.
  async askByAnother (method, path, body) {
    const polls = this.res && this.res.writableFinished
    for (let tries = polls && this.id !== undefined ? 20 : 1; tries > 0; tries--) {
      for (const other of this.store.exchanges) {
        if (other !== this && other.api && other.id === this.id && other.id !== undefined && await this.mayGoOnBy(other)) {
          const answer = await ask(other.api, method, path, body)
          if (answer.status !== 401) return answer
        }
      }
      if (tries > 1) await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  // mayGoOnBy reports whether another request of the session may be asked in place of
  // this one: not if the user has signed in since, or may have, which gives the
  // session a new secret: this one may be of somebody who knows the old one only.
  async mayGoOnBy (other) {
    const { status, body } = await ask(other.api, 'GET', '?keys=')
    return status === 200 && (body.user === undefined || this.signedIn || body.signed_in < this.since)
  }

  // queue asks the API one thing after the other.
  queue (ask) {
    const result = (this.work || Promise.resolve()).then(ask)
    const work = result.catch(() => {}).then(() => { if (this.work === work) this.work = undefined })
    this.work = work
    return result
  }

  // newCookie makes the cookie of a session. What is kept of it is the time
  // that an application has set for this session.
  newCookie (kept) {
    const { cookieOptions } = this
    const cookie = new Cookie(cookieOptions)
    if (cookieOptions.secure === 'auto') cookie.secure = this.isSecure()
    if (cookieOptions.sameSite === 'auto') cookie.sameSite = this.isSecure() ? 'none' : 'lax'
    if (isObject(kept) && 'originalMaxAge' in kept) cookie.maxAge = kept.originalMaxAge
    const { expires } = this
    if (!this.ended && expires !== undefined && typeof cookie.originalMaxAge === 'number') cookie._expires = new Date(expires * 1000)
    return cookie
  }

  isSecure () {
    const { req, settings } = this
    if (req.connection && req.connection.encrypted) return true
    if (settings.proxy === undefined) return req.secure === true
    if (!settings.proxy) return false
    return (req.headers['x-forwarded-proto'] || '').split(',')[0].trim().toLowerCase() === 'https'
  }

  // snapshot returns the data of a session as JSON. It throws a TypeError that
  // names what JSON does not have.
  snapshot (session) {
    const data = {}
    for (const key of Object.keys(session)) {
      if (key !== 'cookie') define(data, key, session[key])
    }
    for (const key in this.aside) {
      if (!has(data, key)) define(data, key, this.aside[key])
    }
    const maxAge = session.cookie ? session.cookie.originalMaxAge : this.maxAge
    if (!Object.is(maxAge, this.maxAge) && !(Math.abs(maxAge - this.maxAge) < 1000)) {
      data.cookie = Object.assign({}, isObject(data.cookie) && data.cookie, { originalMaxAge: maxAge })
    }
    try {
      return JSON.stringify(data)
    } catch (err) {
      throw new TypeError(`${NAME}: ${unsayable(data, 'req.session', []) || err.message}`)
    }
  }

  // save keeps what the session has now: at once if there is an API, else with the
  // response.
  save (session) {
    if (!this.api && this.tooLate()) throw this.late('save()')
    if (this.gone || session.id !== undefined && session.id !== this.req.sessionID) {
      throw new Error(`${NAME}: ${this.req.method} ${pathname(this.req)}: a session was saved that has ended`)
    }
    this.refused = true
    const text = this.snapshot(session)
    this.refused = false
    // Whether a session begins whose cookie is to be secure is decided with the head.
    const insecure = (this.id === undefined || this.ended) && isObject(session.cookie) && session.cookie.secure && !this.isSecure()
    if (this.api && !this.concluding && !insecure) return this.queue(() => this.commit(text))
    this.saved = text
  }

  // end ends the session, with the response, or at once when that has begun.
  end () {
    if (!this.tooLate()) return this.ending()
    if (!this.api) throw this.late('destroy() or regenerate()')
    return this.queue(async () => {
      if (this.id !== undefined) await this.ask('DELETE', '')
      this.ending()
      this.id = this.base = undefined
    })
  }

  ending () {
    this.ended = this.gone = true
    this.saved = null
    this.aside = Object.create(null)
  }

  // tooLate is also true of a WebSocket's handshake: its response is not ours.
  tooLate () {
    return this.begun || this.res.headersSent !== false
  }

  late (what) {
    return new Error(`${NAME}: ${this.req.method} ${pathname(this.req)}: ${what} of req.session came after the response had begun, and does nothing`)
  }

  // begin decides what becomes of the session, and returns the headers that say
  // so. It is called when the head of the response is about to be written.
  begin () {
    if (this.tooLate()) return []
    this.concluding = true
    try {
      const headers = this.conclude()
      this.told = headers.length > 0
      if (this.api) this.goOn()
      return headers
    } catch (err) {
      if (this.refused) return []
      throw err
    } finally {
      this.begun = true // an error page must not fail for the same reason
      this.concluding = false
    }
  }

  // goOn makes what the head says the state that the API finds.
  goOn () {
    if (this.saved !== null) {
      this.id = this.req.sessionID
      this.base = this.original = this.saved
      this.saved = null
      this.ended = false
    } else if (this.ended) {
      this.id = this.base = undefined
      this.gone = true
    }
  }

  // finish saves what has changed since the head, and returns a promise if the
  // response has to wait for the API.
  finish () {
    const session = this.read()
    if (this.tooLate() && session && session !== UNTOUCHED && !this.gone) {
      try {
        const text = this.snapshot(session)
        if (text !== this.base) this.queue(() => this.isNews(text) ? this.commit(text) : undefined).catch((err) => report(err.message))
      } catch (err) {
        // close() reports it.
      }
    }
    return this.work
  }

  // isNews reports whether data, as JSON, differ from those that Caddy has.
  isNews (text) {
    const { set, put } = difference(JSON.parse(this.base || '{}'), JSON.parse(text))
    return set !== undefined || put !== undefined
  }

  conclude () {
    const { req, settings, store } = this
    if (typeof req.sessionID !== 'string') return []
    const failed = (err) => { if (err) setImmediate(this.next, err) }
    const control = []
    let session = this.read()
    if (session === UNTOUCHED && (this.id === undefined ? settings.saveUninitialized : settings.rolling) && !this.ended) session = req.session

    if (session === UNTOUCHED || this.gone) {
      // Nothing more than what has been asked for.
    } else if (!session) {
      if (settings.unset === 'destroy') store.destroy(req.sessionID, failed, this)
    } else {
      const begins = this.id === undefined || this.ended
      if (!isObject(session.cookie)) session.cookie = this.newCookie()
      methodOf(session, 'resetMaxAge').call(session)
      const data = this.sent = this.snapshot(session)
      const modified = this.ended || data !== this.original
      const insecure = session.cookie.secure && !this.isSecure()
      if (begins && insecure) {
        warnOnce(`${NAME}: no session begins, because its cookie is to be secure, and the request is not known to be: set "trust proxy" in Express, or the option "proxy"`)
        this.saved = null
      } else if (this.saved === null ? modified || (begins ? settings.saveUninitialized : settings.resave) : this.saved !== data) {
        methodOf(session, 'save').call(session, failed)
      } else if (!begins) {
        store.touch(session.id, session, failed)
      }
      if (!insecure && (begins ? this.saved !== null : settings.rolling || this.restarted || modified)) {
        this.limit(session.cookie, control, failed)
      }
    }
    return this.kept ? this.headers(control) : []
  }

  // limit says how long the session lasts, if the application does.
  limit (cookie, control, failed) {
    const { maxAge } = cookie
    if (typeof maxAge !== 'number') {
      if (this.limited) control.push('max-age=0')
    } else if (Number.isNaN(maxAge)) {
      failed(new TypeError('option expires is invalid'))
    } else if (maxAge > 0) {
      control.push('max-age=' + Math.ceil(maxAge / 1000))
    } else {
      this.ended = true
      this.saved = null
    }
  }

  // headers returns the response headers as pairs.
  headers (control) {
    const { id, ended, saved } = this
    const headers = []
    if (ended && id !== undefined) control.unshift(saved === null ? 'destroy' : 'clear')
    if (control.length > 0) headers.push(['X-Session-Control', control.join(', ')])
    if (saved === null || saved === this.original && id !== undefined && !ended) return headers

    const before = id === undefined || ended ? {} : JSON.parse(this.base)
    const { set, put } = difference(before, JSON.parse(saved))
    if (put !== undefined) headers.push(['X-Session-Put', ascii(put)])
    if (set !== undefined || put === undefined && id === undefined) headers.push(['X-Session-Set', ascii(set || {})])
    return headers
  }

  // close tells what was changed too late.
  close () {
    this.store.exchanges.delete(this)
    const session = this.read()
    if (!session || session === UNTOUCHED || !(this.begun || this.api && this.tooLate())) return
    const sent = this.api || this.sent === undefined ? this.base || '{}' : this.sent
    const where = `${NAME}: ${this.req.method} ${pathname(this.req)}:`
    try {
      const now = this.snapshot(session)
      if (now === sent) return
      const { set, put } = difference(JSON.parse(sent), JSON.parse(now))
      const keys = Object.keys(set || {}).concat(Object.keys(put || {}))
      if (keys.length === 0) return
      report(`${where} changed after the response had begun, and not saved: ${keys.map((key) => 'req.session' + member(key)).join(', ')}`)
    } catch (err) {
      report(`${where} after the response had begun: ${err.message}`)
    }
  }
}

// Session is req.session. What an application adds to it is its data.
function Session (req, data) {
  Object.defineProperty(this, 'req', { value: req })
  Object.defineProperty(this, 'id', { configurable: true, value: req.sessionID })
  if (!isObject(data)) return
  for (const key of Object.keys(data)) {
    if (!(key in this)) this[key] = data[key]
  }
}

methods(Session.prototype, {
  touch () {
    const exchange = this.req[EXCHANGE]
    if (exchange) exchange.restarted = true
    if (exchange && exchange.api && exchange.tooLate()) this.req.sessionStore.touch(this.id, this)
    return this.resetMaxAge()
  },

  resetMaxAge () {
    this.cookie.maxAge = this.cookie.originalMaxAge
    return this
  },

  // save keeps the data as they are now, and calls back when the API has stored
  // them; without it at once, and they are stored with the response.
  save (fn) {
    this.req.sessionStore.set(this.id, this, fn)
    return this
  },

  // reload goes to the data that Caddy has now; without the API, back to those that
  // came with the request, or were saved since.
  reload (fn) {
    const { req } = this
    const store = req.sessionStore
    store.get(this.id, (err, data) => {
      if (err) return fn(err)
      if (!data) return fn(new Error('failed to load session'))
      store.createSession(req, data)
      fn()
    }, req[EXCHANGE])
    return this
  },

  // destroy ends the session, with the response.
  destroy (fn) {
    delete this.req.session
    this.req.sessionStore.destroy(this.id, fn, this.req[EXCHANGE])
    return this
  },

  // regenerate begins a session with another id and without data.
  regenerate (fn) {
    this.req.sessionStore.regenerate(this.req, fn)
    return this
  }
})

// Cookie is req.session.cookie. Caddy makes the real one: what counts here is
// how long it lasts.
function Cookie (options) {
  this.path = '/'
  this.maxAge = null
  this.httpOnly = true
  if (!options) return
  if (typeof options !== 'object') throw new TypeError('argument options must be a object')
  for (const key of Object.keys(options)) {
    if (key !== 'data') this[key] = options[key]
  }
  // Options name a time in one of three ways; a stored cookie has two of them.
  if (this.originalMaxAge === undefined || this.originalMaxAge === null) this.originalMaxAge = this.maxAge
}

Object.defineProperties(Cookie.prototype, {
  expires: {
    configurable: true,
    enumerable: true,
    get () { return this._expires },
    set (date) {
      this._expires = date
      this.originalMaxAge = this.maxAge
    }
  },
  // In milliseconds from now.
  maxAge: {
    configurable: true,
    enumerable: true,
    get () { return this._expires instanceof Date ? this._expires - Date.now() : this._expires },
    set (ms) {
      if (ms && typeof ms !== 'number' && !(ms instanceof Date)) throw new TypeError('maxAge must be a number or Date')
      this.expires = typeof ms === 'number' ? new Date(Date.now() + ms) : ms
      if (typeof ms === 'number') this.originalMaxAge = ms // exactly
    }
  },
  data: {
    configurable: true,
    enumerable: true,
    get () {
      const { originalMaxAge, partitioned, priority, _expires: expires, secure, httpOnly, domain, path, sameSite } = this
      return { originalMaxAge, partitioned, priority, expires, secure, httpOnly, domain, path, sameSite }
    }
  }
})

methods(Cookie.prototype, {
  toJSON () { return this.data },

  // serialize returns a Set-Cookie line.
  serialize (name, value) {
    const { domain, path, expires, httpOnly, secure, partitioned, priority, sameSite } = this.data
    if (expires && !(expires instanceof Date && expires.getTime() === expires.getTime())) throw new TypeError('option expires is invalid')
    const capital = (word) => word[0].toUpperCase() + word.slice(1).toLowerCase()
    return [
      `${name}=${encodeURIComponent(value)}`,
      domain && 'Domain=' + domain,
      path && 'Path=' + path,
      expires && 'Expires=' + expires.toUTCString(),
      httpOnly && 'HttpOnly',
      secure && 'Secure',
      partitioned && 'Partitioned',
      priority && 'Priority=' + capital(priority),
      sameSite && 'SameSite=' + (sameSite === true ? 'Strict' : capital(sameSite))
    ].filter(Boolean).join('; ')
  }
})

// Store is what stores for express-session inherit from. It may be called
// without new.
function Store () {
  EventEmitter.call(this)
}
inherits(Store, EventEmitter)

methods(Store.prototype, {
  generate (req) {
    req[EXCHANGE].generate()
  },

  regenerate (req, fn) {
    this.destroy(req.sessionID, (err) => {
      this.generate(req)
      fn(err)
    }, req[EXCHANGE])
  },

  load (sid, fn) {
    this.get(sid, (err, data) => {
      if (err || !data) return fn(err)
      fn(null, this.createSession({ sessionID: sid, sessionStore: this }, data))
    })
  },

  createSession (req, data) {
    const exchange = req[EXCHANGE]
    if (exchange && data[ASKED]) exchange.refresh(data[ASKED])
    const { expires, originalMaxAge } = data.cookie
    const cookie = new Cookie(data.cookie)
    if (typeof expires === 'string') cookie.expires = new Date(expires)
    cookie.originalMaxAge = originalMaxAge
    const session = new Session(req, Object.assign(data, { cookie }))
    if (exchange) exchange.adopt(session)
    req.session = session
    return session
  }
})

// MemoryStore is req.sessionStore. It has the sessions of the requests that are
// being answered in this process; all others are in Caddy, and what is asked of
// them is an error.
function MemoryStore () {
  Store.call(this)
  Object.defineProperty(this, 'exchanges', { value: new Set() })
}
inherits(MemoryStore, Store)

methods(MemoryStore.prototype, {
  get (sid, fn, exchange = this.find(sid)) {
    this.answer(fn, () => {
      if (exchange.api && exchange.id !== undefined && !exchange.ended) return exchange.queue(() => exchange.fetch())
      if (!exchange.api && exchange.tooLate()) throw exchange.late('reload()')
      return exchange.stored()
    }, exchange, 'get')
  },

  set (sid, session, fn) {
    const exchange = session.req && session.req[EXCHANGE] || this.find(sid)
    this.answer(fn, () => exchange.save(session), exchange, 'set')
  },

  destroy (sid, fn, exchange = this.find(sid)) {
    this.answer(fn, () => exchange.end(), exchange, 'destroy')
  },

  // Of a new session, the browser must be told.
  regenerate (req, fn) {
    const exchange = req[EXCHANGE]
    if (!exchange.api || !exchange.tooLate()) return Store.prototype.regenerate.call(this, req, fn)
    this.answer(fn, () => exchange.queue(() => exchange.replace()), exchange, 'regenerate')
  },

  // Caddy knows that the session was used by the request, but not what is done with
  // it since the response has begun.
  touch (sid, session, fn) {
    const exchange = session.req && session.req[EXCHANGE]
    if (exchange && exchange.api && exchange.tooLate() && exchange.id !== undefined) {
      this.answer(fn, () => exchange.queue(async () => { await exchange.ask('POST', '/touch') }), exchange, 'touch')
    } else if (fn) {
      process.nextTick(fn)
    }
  },

  all (fn) { this.answer(fn, null, undefined, 'all') },
  clear (fn) { this.answer(fn, null, undefined, 'clear') },
  length (fn) { this.answer(fn, null, undefined, 'length') },

  find (sid) {
    for (const exchange of this.exchanges) {
      if (exchange.req.sessionID === sid) return exchange
    }
  },

  // answer calls back with what ask returns, now or by a promise, or throws. An
  // error that nobody wants to hear is logged.
  answer (fn, ask, exchange, method) {
    const tell = (err, data) => {
      if (fn) process.nextTick(() => err || data === undefined ? fn(err) : fn(null, data))
      else if (err) report(err.message)
    }
    try {
      if (!exchange) throw new Error(`${NAME}: store.${method}(): sessions of other requests are in Caddy, where headers do not reach them`)
      const data = ask()
      if (data instanceof Promise) data.then((data) => tell(undefined, data), tell)
      else tell(undefined, data)
    } catch (err) {
      tell(err)
    }
  }
})

// koa returns a middleware for Koa: ctx.session is what req.session is.
function koa (options) {
  const middleware = session(options)
  return async (ctx, next) => {
    await new Promise((resolve, reject) => middleware(ctx.req, ctx.res, (err) => err ? reject(err) : resolve()))
    Object.defineProperty(ctx, 'session', {
      configurable: true,
      get: () => ctx.req.session,
      set: (value) => { ctx.req.session = value }
    })
    await next()
  }
}

// fastify is a plugin for Fastify: request.session is what req.session is.
function fastify (instance, options, done) {
  const middleware = session(options)
  instance.decorateRequest('session', {
    getter () { return this.raw.session },
    setter (value) { this.raw.session = value }
  })
  instance.addHook('onRequest', (request, reply, done) => middleware(request.raw, reply.raw, done))
  done()
}
fastify[Symbol.for('skip-override')] = true // for the routes outside of it, too

// difference returns what makes one object of JSON the other: set is a merge
// patch, RFC 7396; put has the keys with a value that no merge patch can say,
// since null removes there. Each is absent if it has nothing to say.
function difference (before, after) {
  const set = Object.create(null)
  const put = Object.create(null)
  for (const key of Object.keys(before)) {
    if (!has(after, key)) set[key] = null
  }
  for (const key of Object.keys(after)) {
    const old = has(before, key) ? before[key] : undefined
    if (equal(old, after[key])) continue
    const patch = mergePatch(old, after[key])
    if (patch === undefined) put[key] = after[key]
    else set[key] = patch
  }
  const some = (object) => Object.keys(object).length > 0 ? object : undefined
  return { set: some(set), put: some(put) }
}

// mergePatch returns what a merge patch has to say to make one value the other,
// which is not equal, or undefined if it can't.
function mergePatch (before, after) {
  if (after === null) return undefined
  if (!isObject(after)) return after
  const patch = Object.create(null)
  const old = isObject(before) ? before : {}
  for (const key of Object.keys(old)) {
    if (!has(after, key)) patch[key] = null
  }
  for (const key of Object.keys(after)) {
    const oldValue = has(old, key) ? old[key] : undefined
    if (equal(oldValue, after[key])) continue
    patch[key] = mergePatch(oldValue, after[key])
    if (patch[key] === undefined) return undefined
  }
  return patch
}

// equal compares values of JSON; undefined is equal to itself only.
function equal (a, b) {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => has(b, key) && equal(a[key], b[key]))
}

// unsayable returns what in a value JSON does not have, and where.
function unsayable (value, path, above) {
  if (typeof value === 'bigint') return `${path} is a BigInt, which JSON does not have`
  if (typeof value !== 'object' || value === null || typeof value.toJSON === 'function') return undefined
  if (above.includes(value)) return `${path} contains itself, which JSON can't say`
  for (const key of Object.keys(value)) {
    const found = unsayable(value[key], path + member(key), above.concat([value]))
    if (found) return found
  }
}

// ask sends a request to the session API and returns its status and body. Errors do
// not have the URL in them, which is a secret.
function ask (url, method, path, body, again) {
  const [, scheme, unix, authority, base] = /^(https?)(\+unix)?:\/\/([^/]+)(\/[\w-]+)$/.exec(url) || []
  if (base === undefined) return Promise.reject(new Error(`${NAME}: X-Session-Api is no URL of a session API`))
  const options = { agent: agents[scheme], method, path: base + path, timeout: askTimeout }
  if (unix) {
    options.socketPath = decodeURIComponent(authority)
    options.headers = { host: 'localhost' }
  } else {
    const { hostname, port } = new URL(`${scheme}://${authority}`)
    Object.assign(options, { host: hostname.replace(/[[\]]/g, ''), port, headers: { host: authority } })
  }
  if (body !== undefined) options.headers['content-type'] = 'application/json'
  return new Promise((resolve, reject) => {
    const failed = (err) => {
      // When Caddy reloads, it closes connections that wait.
      if (req.reusedSocket && !again && (err.code === 'ECONNRESET' || err.code === 'EPIPE')) return resolve(ask(url, method, path, body, true))
      reject(new Error(`${NAME}: the session API does not answer: ${err.message}`))
    }
    const req = (scheme === 'https' ? https : http).request(options, (res) => {
      const chunks = []
      res.on('error', failed)
      res.on('data', (chunk) => chunks.push(chunk))
      res.on('end', () => {
        try {
          resolve({ status: res.statusCode, body: chunks.length > 0 ? JSON.parse(Buffer.concat(chunks)) : undefined })
        } catch (err) {
          reject(new Error(`${NAME}: what answers in the place of the session API is none: ${res.statusCode}, and not JSON`))
        }
      })
    })
    req.on('timeout', () => req.destroy(new Error('timeout')))
    req.on('error', failed)
    req.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

function member (key) {
  if (/^[A-Za-z_$][\w$]*$/.test(key)) return '.' + key
  return /^\d+$/.test(key) ? `[${key}]` : `[${JSON.stringify(key)}]`
}

function ascii (value) {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
}

// isOurs reports whether req.session has something of its own under a name.
function isOurs (key) {
  return key === 'cookie' || key in Session.prototype || key === 'req' || key === 'id'
}

// methodOf returns a method of a session whose place data may have taken.
function methodOf (session, name) {
  return typeof session[name] === 'function' ? session[name] : Session.prototype[name]
}

function has (object, key) {
  return Object.prototype.hasOwnProperty.call(object, key)
}

// define sets a member, whatever its name.
function define (object, key, value) {
  if (key !== '__proto__') object[key] = value
  else Object.defineProperty(object, key, { configurable: true, enumerable: true, writable: true, value })
}

function isObject (value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function methods (prototype, functions) {
  for (const name of Object.keys(functions)) {
    Object.defineProperty(prototype, name, { configurable: true, enumerable: false, writable: true, value: functions[name] })
  }
}

// pathname returns the path that the client asked for, wherever the middleware
// is mounted.
function pathname (req) {
  return (req.originalUrl || req.url || '/').split('?', 1)[0] || '/'
}

// beforeHead adds headers at the last moment. They are given as pairs.
function beforeHead (res, headers) {
  const { writeHead, end } = res
  res.writeHead = function (...args) {
    const added = headers()
    if (added.length > 0) {
      // Headers that are given as an argument must not take the place of ours.
      if (typeof args[args.length - 1] === 'object') setAll(res, args.pop())
      for (const [name, value] of added) append(res, name, value)
    }
    return writeHead.apply(this, args)
  }
  if (typeof res._implicitHeader === 'function') return
  // Of HTTP/2, end() without a body writes a head without writeHead().
  res.end = function (...args) {
    if (!this.headersSent) this.writeHead(this.statusCode)
    return end.apply(this, args)
  }
}

// beforeEnd has the end of the response wait for a promise, if there is one.
function beforeEnd (res, finish, failed) {
  const { end } = res
  if (typeof end !== 'function') return
  let waiting = false
  res.end = function (...args) {
    if (waiting) return this
    const work = finish()
    if (work === undefined) return end.apply(this, args)
    waiting = true
    work.then(() => {
      waiting = false
      end.apply(this, args)
    }).catch(failed)
    return this
  }
}

// setAll sets the headers of a call of writeHead(): an object, pairs, or a list
// in which names and values alternate.
function setAll (res, headers) {
  if (!headers) return
  if (!Array.isArray(headers)) {
    for (const name of Object.keys(headers)) res.setHeader(name, headers[name])
    return
  }
  const flat = Array.isArray(headers[0]) ? headers.flat() : headers
  for (let i = 0; i < flat.length; i += 2) res.removeHeader(flat[i])
  for (let i = 0; i < flat.length; i += 2) append(res, flat[i], flat[i + 1])
}

function append (res, name, value) {
  const before = res.getHeader(name)
  res.setHeader(name, before === undefined ? value : [].concat(before, value))
}

const warned = new Set()

function warnOnce (text) {
  if (!warned.has(text)) process.emitWarning(text)
  warned.add(text)
}

function report (text) {
  console.error(text)
}

// Types of @types/express-session as far as applications use them, so that a
// "declare module" that adds to SessionData goes on working: under the name by
// which the package is installed.

import { EventEmitter } from 'events'
import { IncomingMessage, ServerResponse } from 'http'

declare global {
  namespace Express {
    type SessionStore = session.Store & { generate: (req: any) => void }

    interface Request {
      session: session.Session & Partial<session.SessionData>
      sessionID: string
      sessionStore: SessionStore
    }
  }
}

export = session

declare function session (options?: session.SessionOptions): (req: any, res: any, next: (err?: any) => void) => void

declare namespace session {
  interface SessionOptions {
    /** Requests without Caddy's headers are an error, rather than a session that is not kept. */
    required?: boolean | undefined
    /** maxAge, expires, path, and secure count. The cookie itself is made by Caddy. */
    cookie?: CookieOptions | ((req: any) => CookieOptions) | undefined
    proxy?: boolean | undefined
    resave?: boolean | undefined
    rolling?: boolean | undefined
    saveUninitialized?: boolean | undefined
    unset?: 'destroy' | 'keep' | undefined
    /** Not used, but may not be named and empty. */
    secret?: any
    /** Not used: ids are Caddy's. */
    genid?: ((req: any) => string) | undefined
    /** Not used: the cookie's name is in the Caddyfile. */
    name?: string | undefined
    /** Not used unless it is a MemoryStore of this package: Caddy has the store. */
    store?: any
  }

  interface CookieOptions {
    maxAge?: number | null | undefined
    expires?: Date | null | undefined
    path?: string | undefined
    domain?: string | undefined
    httpOnly?: boolean | undefined
    partitioned?: boolean | undefined
    priority?: 'low' | 'medium' | 'high' | undefined
    sameSite?: boolean | 'auto' | 'lax' | 'strict' | 'none' | undefined
    secure?: boolean | 'auto' | undefined
    encode?: ((value: string) => string) | undefined
  }

  /** What applications add to. */
  interface SessionData {
    cookie: Cookie
  }

  class Session {
    private constructor (req: any, data?: object)
    readonly id: string
    cookie: Cookie
    /** Ends this session and begins another one, with the response. */
    regenerate (callback: (err: any) => void): this
    /** Ends this session, with the response. */
    destroy (callback?: (err: any) => void): this
    /** Goes to the data that Caddy has now; without the session API, back to those that came with the request or were saved since. */
    reload (callback: (err: any) => void): this
    resetMaxAge (): this
    /** Keeps the data as they are now. They are stored when it calls back; without the session API, with the response. */
    save (callback?: (err?: any) => void): this
    touch (): this
  }

  class Cookie implements CookieOptions {
    constructor (options?: CookieOptions)
    originalMaxAge: number | null
    maxAge?: number | null
    expires?: Date | null
    path?: string
    domain?: string
    httpOnly?: boolean
    partitioned?: boolean
    priority?: 'low' | 'medium' | 'high'
    sameSite?: boolean | 'auto' | 'lax' | 'strict' | 'none'
    secure?: boolean | 'auto'
    readonly data: object
    serialize (name: string, value: string): string
    toJSON (): object
  }

  abstract class Store extends EventEmitter {
    regenerate (req: any, callback: (err?: any) => any): void
    load (sid: string, callback: (err: any, session?: Session & SessionData) => any): void
    createSession (req: any, session: SessionData): Session & SessionData
    abstract get (sid: string, callback: (err: any, session?: SessionData | null) => void): void
    abstract set (sid: string, session: SessionData, callback?: (err?: any) => void): void
    abstract destroy (sid: string, callback?: (err?: any) => void): void
    all? (callback: (err: any, sessions?: SessionData[] | { [sid: string]: SessionData } | null) => void): void
    length? (callback: (err: any, length?: number) => void): void
    clear? (callback?: (err?: any) => void): void
    touch? (sid: string, session: SessionData, callback?: () => void): void
  }

  class MemoryStore extends Store {
    get (sid: string, callback: (err: any, session?: SessionData | null) => void): void
    set (sid: string, session: SessionData, callback?: (err?: any) => void): void
    destroy (sid: string, callback?: (err?: any) => void): void
  }

  /** A middleware for Koa: ctx.session is what req.session is elsewhere. */
  function koa (options?: SessionOptions): (context: { req: IncomingMessage, res: ServerResponse }, next: () => Promise<any>) => Promise<void>

  /** A plugin for Fastify: request.session is what req.session is elsewhere. */
  function fastify (instance: any, options: SessionOptions, done: () => void): void
}

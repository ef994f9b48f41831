// An application as it is written for express-session. That package.json takes
// express-session from adapters/express is all that is different.

'use strict'

const express = require('express')
const session = require('express-session')

const app = express()
app.use(express.urlencoded())
app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }))

app.get('/', (req, res) => {
  req.session.visits = (req.session.visits || 0) + 1
  const form = req.session.user
    ? '<form method="post" action="/out"><button>Sign out</button></form>'
    : '<form method="post" action="/in"><label>Name <input name="name" required></label> <button>Sign in</button></form>'
  res.send(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Express</title>
<h1>Hello, ${escape(req.session.user || 'stranger')}!</h1>
<p>Pages seen: ${req.session.visits}</p>
${form}
`)
})

// A real application checks a password.
app.post('/in', (req, res, next) => {
  req.session.regenerate((err) => {
    if (err) return next(err)
    req.session.user = req.body.name
    res.redirect(303, '/')
  })
})

app.post('/out', (req, res, next) => {
  req.session.destroy((err) => err ? next(err) : res.redirect(303, '/'))
})

function escape (text) {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
}

// Nobody but Caddy may reach it.
app.listen(process.env.PORT || 3000, '127.0.0.1')

// An application for express-session. That package.json takes express-session
// from adapters/express is all that is different.

'use strict'

const express = require('express')
const session = require('express-session')

const app = express()
app.use(express.urlencoded())
app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }))

app.post('/add', (req, res) => {
  const cart = req.session.cart ??= {}
  cart[req.body.item] = (cart[req.body.item] ?? 0) + 1
  res.redirect(303, './')
})

// A real application checks a password.
app.post('/in', (req, res) => {
  req.session.user = req.body.user
  res.redirect(303, './')
})

app.post('/out', (req, res, next) => {
  req.session.destroy((err) => err ? next(err) : res.redirect(303, './'))
})

app.get('/', (req, res) => {
  const { user, cart = {} } = req.session
  res.send(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Node</title>
<link rel="stylesheet" href="../style.css">
<main>
  <h1>Node</h1>
  <p>${user ? `Hello, ${escape(user)}!` : 'Nobody is signed in.'}</p>
  <ul>
    ${Object.entries(cart).map(([item, count]) => `<li>${escape(item)} × ${count}</li>`).join('\n    ')}
  </ul>
  <form method="post" action="add"><label>Item <input name="item" value="cup" required></label> <button>Add</button></form>
  ${user
    ? '<form method="post" action="out"><button>Sign out</button></form>'
    : '<form method="post" action="in"><label>Name <input name="user" value="Bob" required></label> <button>Sign in</button></form>'}
</main>
`)
})

function escape (text) {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
}

// Nobody but Caddy may reach it.
app.listen(process.env.PORT || 8092, '127.0.0.1')

// The rules that adapters of all languages share, ../vectors.json.

'use strict'

const assert = require('assert')
const { test } = require('node:test')
const vectors = require('../vectors.json')
const { came, nobody, listen, ask } = require('./testing')

// become gives req.session the data that are wanted.
function become (session, after) {
  for (const key of Object.keys(session)) {
    if (key !== 'cookie') delete session[key]
  }
  for (const key of Object.keys(after)) session[key] = after[key]
}

test('vectors', async (t) => {
  let vector
  const server = await listen(t, { saveUninitialized: false, resave: false }, (req, res) => {
    if (!vector.control) {
      become(req.session, vector.after)
      return res.end()
    }
    req.session.regenerate((err) => {
      assert.ifError(err)
      become(req.session, vector.after)
      res.end()
    })
  })
  for (vector of vectors) {
    const { name, before, set, put, control } = vector
    const answer = await ask(server, name === 'nothing where there is nothing' ? nobody() : came(before))
    assert.strictEqual(answer.status, 200, name + ': ' + answer.body)
    assert.deepStrictEqual(answer.said, JSON.parse(JSON.stringify({ set, put, control })), name)
    for (const header of ['x-session-set', 'x-session-put']) {
      assert.match(answer.headers[header] || '', /^[\x20-\x7e]*$/, name)
    }
  }
})

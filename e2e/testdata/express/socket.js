// Connects to a socket.io server and prints what it is greeted with, and then why
// the connection ends.
//
//	node socket.js ORIGIN PATH COOKIE TRANSPORT

'use strict'

const { io } = require('socket.io-client')

const [origin, path, cookie, transport] = process.argv.slice(2)
const socket = io(origin, { path, transports: [transport], extraHeaders: { cookie }, reconnection: false })
socket.on('connect_error', (err) => {
  console.log(JSON.stringify(['error', err.message]))
  process.exit(1)
})
socket.on('hello', (...words) => console.log(JSON.stringify(words)))
socket.on('disconnect', (reason) => {
  console.log(JSON.stringify([reason]))
  process.exit()
})

// Connects to a socket.io server and prints what it is greeted with, and then why
// the connection ends. In between it counts twice, if it is told to.
//
//	node socket.js ORIGIN PATH COOKIE TRANSPORT[,TRANSPORT] [count]

'use strict'

const { io } = require('socket.io-client')

const [origin, path, cookie, transports, count] = process.argv.slice(2)
const socket = io(origin, { path, transports: transports.split(','), extraHeaders: { cookie }, reconnection: false })
socket.on('connect_error', (err) => {
  console.log(JSON.stringify(['error', err.message]))
  process.exit(1)
})
socket.on('hello', (...words) => {
  console.log(JSON.stringify(words))
  if (!count) return
  const go = () => socket.emit('count', (first) => socket.emit('count', (second) => console.log(JSON.stringify([first, second]))))
  // With two transports, once the second one is in use.
  if (!transports.includes(',') || socket.io.engine.transport.name === 'websocket') go()
  else socket.io.engine.on('upgrade', go)
})
socket.on('disconnect', (reason) => {
  console.log(JSON.stringify([reason]))
  process.exit()
})

// Prints which cookies the module cookie finds in each line of standard input, a
// Cookie header: NAME=VALUE of each, both in hexadecimal, parted by spaces.

const cookie = require("cookie")

const encode = (text) => Buffer.from(text).toString("hex")

const lines = require("fs").readFileSync(0, "latin1").split("\n").slice(0, -1)
for (const line of lines) {
	const found = Object.entries(cookie.parse(line))
	console.log(found.map(([name, value]) => encode(name) + "=" + encode(value)).join(" "))
}

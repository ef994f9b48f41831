"""Prints which cookies http.cookies finds in each line of standard input, a
Cookie header: NAME=VALUE of each, both in hexadecimal, parted by spaces; those of
the header as ISO 8859-1 and those of the header as UTF-8 parted by a tab."""

import sys
from http.cookies import CookieError, SimpleCookie


def encode(text):
    return text.encode("utf-8", "surrogateescape").hex()


def find(header):
    cookies = SimpleCookie()
    try:
        cookies.load(header)
    except CookieError:
        pass  # what was read before it stays
    return " ".join(encode(name) + "=" + encode(cookie.value) for name, cookie in cookies.items())


for line in sys.stdin.buffer:
    line = line.removesuffix(b"\n")
    print(find(line.decode("iso-8859-1")), find(line.decode("utf-8", "surrogateescape")), sep="\t")

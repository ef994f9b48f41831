package cookiejar_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
)

// The session cookie is read from a request, taken out of it, and set again.
func ExampleCookie_Compile() {
	cookie, err := cookiejar.Cookie{SameSite: "strict"}.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	secure := cookie.SecureFor(true) // the request came over HTTPS
	header := http.Header{"Cookie": {"theme=dark; __Host-csid=token"}}
	wellFormed := func(value string) bool { return value != "" }
	values, err := cookiejar.Values(nil, header["Cookie"], cookie.NameFor(secure), wellFormed)
	cookiejar.Strip(header, cookie.Names()...)

	fmt.Println(values, err)
	fmt.Println(header.Get("Cookie"))
	fmt.Println(cookie.SetLine("next", secure, time.Hour))
	// Output:
	// [token] <nil>
	// theme=dark
	// __Host-csid=next; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict
}

// A cookie is kept: the response goes to the browser without it, and only the
// application sees it on the next request.
func ExampleRules_Compile() {
	rules := cookiejar.Rules{Keep: []string{"PHPSESSID"}}
	keeper, err := rules.Compile([]string{"__Host-csid"}, func(value string) bool { return len(value) <= 4096 })
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
	request := &http.Request{Method: "GET", Header: http.Header{"Cookie": {"PHPSESSID=forged; theme=dark"}}}
	context := cookiejar.Context{Host: "example.com", Path: "/", Secure: true, Safe: true, Now: now}

	incoming := keeper.Receive(request.Header, context, "")
	fmt.Println(request.Header.Get("Cookie"))

	response := http.Header{"Set-Cookie": {"PHPSESSID=8c1f; Path=/; HttpOnly", "theme=light"}}
	taken := keeper.Take(response, "", context, incoming)
	fmt.Println(response["Set-Cookie"])

	var jar string // what the caller stores with the session
	for key, record := range cookiejar.StoreKept("", context, taken.Kept, time.Minute).Changes {
		jar = fmt.Sprintf("{%q:%q}", key, record)
	}
	keeper.Receive(request.Header, context, jar)
	fmt.Println(request.Header.Get("Cookie"))
	// Output:
	// theme=dark
	// [theme=light]
	// PHPSESSID=8c1f; theme=dark
}

// A host has one spelling, whatever the request says.
func ExampleCanonicalHost() {
	fmt.Println(cookiejar.CanonicalHost("B\u00fccher.Example.:8443"))
	fmt.Println(cookiejar.CanonicalHost("a b"))
	// Output:
	// xn--bcher-kva.example true
	//  false
}

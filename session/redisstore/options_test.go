//go:build unix

package redisstore

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

func TestAddress(t *testing.T) {
	for _, test := range []struct {
		in   string
		want target
		text string
	}{
		{"redis.example", target{network: "tcp", address: "redis.example:6379"}, "redis.example:6379"},
		{"10.0.0.1:7000", target{network: "tcp", address: "10.0.0.1:7000"}, "10.0.0.1:7000"},
		{"::1", target{network: "tcp", address: "[::1]:6379"}, "[::1]:6379"},
		{"[::1]", target{network: "tcp", address: "[::1]:6379"}, "[::1]:6379"},
		{"[::1]:7000", target{network: "tcp", address: "[::1]:7000"}, "[::1]:7000"},
		{"unix//run/redis.sock", target{network: "unix", address: "/run/redis.sock"}, "unix//run/redis.sock"},
		{"unix/redis.sock", target{network: "unix", address: "redis.sock"}, "unix/redis.sock"},
		{"redis://h", target{network: "tcp", address: "h:6379"}, "h:6379"},
		{"redis://u:p%40w@h:7000/3", target{network: "tcp", address: "h:7000", username: "u", password: "p@w", db: 3}, "h:7000"},
		{"redis://:pw@[::1]/", target{network: "tcp", address: "[::1]:6379", password: "pw"}, "[::1]:6379"},
		{"rediss://h", target{network: "tcp", address: "h:6379", tls: &tls.Config{}}, "h:6379"},
		{"unix:///run/r.sock?db=2", target{network: "unix", address: "/run/r.sock", db: 2}, "unix//run/r.sock"},
		{"unix://u:pw@/run/r.sock", target{network: "unix", address: "/run/r.sock", username: "u", password: "pw"}, "unix//run/r.sock"},
	} {
		got, err := parseAddress(test.in, defaultPort)
		if err != nil {
			t.Errorf("%q: %v", test.in, err)
			continue
		}
		if (got.tls == nil) != (test.want.tls == nil) {
			t.Errorf("%q: TLS is %v", test.in, got.tls != nil)
		}
		got.tls, test.want.tls = nil, nil
		if text := (config{target: got, addresses: []string{got.address}}).String(); got != test.want || text != test.text {
			t.Errorf("%q: got %+v, want %+v", test.in, got, test.want)
		}
	}
}

// Wherever a password ends up by mistake, no error quotes it.
func TestBadAddress(t *testing.T) {
	for _, in := range []string{
		"", "http://h", "HUNTER2://h", "redis:", "redis://", "redis://:7000", "h:", "h:0", "h:99999", "h:x", "a:b:c", ":6379",
		"unix/", "unix://", "unix://run/r.sock", "unix:///r?db=x", "unix:///r?db=-1", "unix:///r?x=1", "/run/redis.sock",
		"u:HUNTER2@h:6379", "redis://u:HUNTER2#x@h", "redis://u:HUN/TER2@h", "redis://u:1/HUNTER2@h", "redis://u:1?HUNTER2@h",
		"redis://u:HUNTER2@h:x", "redis://u:HUNTER2@h/x", "redis://u:HUNTER2@h/1/2", "redis://u:HUNTER2@h?db=1", "redis://u:%zzHUNTER2@h",
		"redis://HUNTER2@h", "redis://u:HUNTER2@", "redis://u:HUNTER2@h\n", "redis://u:HUNTER2@h/-1", "redis://h?password=HUNTER2", "redis://h?HUNTER2=%zz",
	} {
		_, err := New(Options{Addresses: []string{in}})
		if err == nil {
			t.Errorf("%q was accepted", in)
		} else if strings.Contains(err.Error(), "HUNTER2") || strings.Contains(err.Error(), "TER2") {
			t.Errorf("%q: the error quotes the password: %v", in, err)
		}
	}
}

func TestOptions(t *testing.T) {
	c, err := Options{}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if c.prefix != DefaultKeyPrefix || c.timeout != DefaultTimeout || c.clientName != DefaultClientName || c.logger == nil {
		t.Errorf("the zero value gives %+v", c)
	}
	if c.String() != "localhost:6379" {
		t.Errorf("the zero value is %v", c)
	}
	conf := &tls.Config{ServerName: "x"}
	c, err = Options{Addresses: []string{"rediss://h/4"}, Username: "u", Password: "p", TLS: conf}.resolve()
	if err != nil || c.username != "u" || c.password != "p" || c.db != 4 || c.tls == conf || c.tls.ServerName != "x" {
		t.Errorf("got %+v, %v", c, err)
	}

	c, err = Options{
		Addresses: []string{"s1", "s2:26380"}, Sentinel: &Sentinel{Master: "m", Password: "q"}, Password: "p", DB: 3,
		Wait: Wait{Replicas: 2, Timeout: 100 * time.Millisecond},
	}.resolve()
	if err != nil || c.String() != "m of sentinel s1:26379,s2:26380" || c.password != "p" || c.sentinel.Password != "q" || c.db != 3 || c.wait.Replicas != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
	c, err = Options{Addresses: []string{"rediss://:p@h", "rediss://:p@i"}}.resolve()
	if err != nil || c.String() != "h:6379,i:6379" || c.password != "p" || c.tls == nil {
		t.Errorf("got %+v, %v", c, err)
	}

	for name, o := range map[string]Options{
		"password twice":   {Addresses: []string{"redis://:HUNTER2@h"}, Password: "HUNTER2"},
		"username twice":   {Addresses: []string{"redis://u:HUNTER2@h"}, Username: "u"},
		"database twice":   {Addresses: []string{"redis://h/1"}, DB: 1},
		"no password":      {Username: "HUNTER2"},
		"TLS on a socket":  {Addresses: []string{"unix//r"}, TLS: conf},
		"negative DB":      {DB: -1},
		"negative timeout": {Timeout: -time.Second},
		"client name":      {ClientName: "a b"},

		"an address twice":        {Addresses: []string{"h", "h:6379"}},
		"a socket and a server":   {Addresses: []string{"unix//r", "h"}},
		"a server and a socket":   {Addresses: []string{"h", "unix//r"}},
		"two sockets":             {Addresses: []string{"unix//r", "unix//s"}},
		"passwords differ":        {Addresses: []string{"redis://:HUNTER2@h", "redis://:HUNTER22@i"}},
		"TLS differs":             {Addresses: []string{"redis://h", "rediss://i"}},
		"databases differ":        {Addresses: []string{"redis://h/1", "redis://i/2"}},
		"a Cluster's database":    {Addresses: []string{"h", "i"}, DB: 1},
		"a nameless primary":      {Sentinel: &Sentinel{}},
		"a Sentinel's socket":     {Addresses: []string{"unix//r"}, Sentinel: &Sentinel{Master: "m"}},
		"a Sentinel's URL":        {Addresses: []string{"redis://:HUNTER2@h"}, Sentinel: &Sentinel{Master: "m"}},
		"a Sentinel's user alone": {Sentinel: &Sentinel{Master: "m", Username: "HUNTER2"}},
		"negative replicas":       {Wait: Wait{Replicas: -1}},
		"no time for replicas":    {Wait: Wait{Replicas: 1}},
		"too much time for them":  {Wait: Wait{Replicas: 1, Timeout: time.Second}, Timeout: time.Second},
	} {
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "HUNTER2") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

func TestTooOld(t *testing.T) {
	for v, want := range map[string]bool{
		"6.2.0": false, "7.0.15": false, "8": false, "10.0.1": false, "": false, "x.y": false,
		"6.0.16": true, "5.0.14": true, "2.8.24": true,
	} {
		if got := tooOld(v); got != want {
			t.Errorf("tooOld(%q) = %v", v, got)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		-1: 1, 0: 1, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Second: 1000,
		1<<63 - 1: 9223372036855,
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("milliseconds(%d) = %d, want %d", d, got, want)
		}
	}
}

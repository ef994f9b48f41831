package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// load is what one run of wrk has seen.
type load struct {
	requests int64
	lost     int64   // connections that failed or were closed
	rate     float64 // requests a second
	p50, p99 time.Duration
}

// browser is what Firefox sends with a page that is opened from another one.
var browser = []string{
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	"Accept-Language: en-US,en;q=0.5",
	"Accept-Encoding: gzip, deflate, br, zstd",
	"Referer: http://127.0.0.1/before",
	"Upgrade-Insecure-Requests: 1",
	"Sec-Fetch-Dest: document",
	"Sec-Fetch-Mode: navigate",
	"Sec-Fetch-Site: same-origin",
	"Sec-Fetch-User: ?1",
	"Priority: u=0, i",
}

// wrkArguments are the arguments for a run, without headers and URL.
func (o options) wrkArguments(seconds int) []string {
	return []string{"--latency", "--threads", strconv.Itoa(o.threads), "--connections", strconv.Itoa(o.connections),
		"--duration", fmt.Sprintf("%ds", seconds), "--timeout", "10s"}
}

// wrk runs it once. Any answer but 2xx and 3xx is an error, and so are many
// connections that fail: a contender that refuses work would look fast.
func wrk(ctx context.Context, o options, c *contender, seconds int) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds+30)*time.Second)
	defer cancel()
	arguments := o.wrkArguments(seconds)
	if o.headers == "browser" {
		for _, header := range browser {
			arguments = append(arguments, "--header", header)
		}
	}
	if c.cookie != "" {
		arguments = append(arguments, "--header", "Cookie: "+c.cookie)
	}
	output, err := exec.CommandContext(ctx, "wrk", append(arguments, c.url+"/")...).CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk on %s: %w: %s", c.name, err, output)
	}
	l, err := parseWrk(string(output))
	if err != nil {
		return load{}, fmt.Errorf("wrk on %s: %w", c.name, err)
	}
	return l, nil
}

var (
	wrkLatency  = regexp.MustCompile(`(?m)^ +(50|99)% +([0-9.]+)(us|ms|s|m)$`)
	wrkRequests = regexp.MustCompile(`(?m)^ +([0-9]+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec: +([0-9.]+)$`)
	wrkRefused  = regexp.MustCompile(`(?m)^ *(Non-2xx.*)$`)
	wrkErrors   = regexp.MustCompile(`(?m)^ *Socket errors: connect ([0-9]+), read ([0-9]+), write ([0-9]+), timeout ([0-9]+)$`)
)

func parseWrk(output string) (load, error) {
	if refused := wrkRefused.FindStringSubmatch(output); refused != nil {
		return load{}, errors.New(refused[1])
	}
	var l load
	for _, found := range wrkLatency.FindAllStringSubmatch(output, -1) {
		d, err := time.ParseDuration(found[2] + found[3])
		if err != nil {
			return load{}, err
		}
		if found[1] == "50" {
			l.p50 = d
		} else {
			l.p99 = d
		}
	}
	requests, rate := wrkRequests.FindStringSubmatch(output), wrkRate.FindStringSubmatch(output)
	if requests == nil || rate == nil || l.p50 == 0 || l.p99 == 0 {
		return load{}, fmt.Errorf("can't read what wrk says: %s", output)
	}
	var err error
	if l.requests, err = strconv.ParseInt(requests[1], 10, 64); err != nil {
		return load{}, err
	}
	if found := wrkErrors.FindStringSubmatch(output); found != nil {
		for _, count := range found[1:] {
			n, err := strconv.ParseInt(count, 10, 64)
			if err != nil {
				return load{}, err
			}
			l.lost += n
		}
		if l.lost > l.requests/1000 {
			return load{}, fmt.Errorf("%d requests, but %s", l.requests, strings.TrimSpace(found[0]))
		}
	}
	l.rate, err = strconv.ParseFloat(rate[1], 64)
	return l, err
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// admin asks the API of a Caddy.
type admin struct{ address string }

func (a admin) get(ctx context.Context, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+path, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers with %s: %s", path, answer.Status, body)
	}
	return string(body), err
}

// metric returns the sum of a metric over its labels, and false if Caddy does
// not have it.
func (a admin) metric(ctx context.Context, name string) (value float64, found bool, err error) {
	text, err := a.get(ctx, "/metrics")
	if err != nil {
		return 0, false, err
	}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		rest, ok := strings.CutPrefix(s.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, false, err
		}
		value, found = value+v, true
	}
	return value, found, nil
}

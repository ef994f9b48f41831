package caddysession

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// operator is one run of a command.
type operator struct {
	address  string
	json     bool
	out, err io.Writer
}

func listSessions(o *operator, flags caddycmd.Flags, _ []string) error {
	limit := flags.Int("limit")
	if limit < 0 {
		return fmt.Errorf("--limit %d is negative", limit)
	}
	q := adminQuery{Subject: flags.String("user"), Realm: flags.String("realm"), Limit: mostPageSize}
	table := o.table()
	listed, more := 0, false
	for {
		var page adminPage
		if err := o.ask("list", q, &page); err != nil {
			return err
		}
		if limit > 0 && len(page.Sessions) > limit-listed {
			page.Sessions, more = page.Sessions[:limit-listed], true
		}
		listed += len(page.Sessions)
		if q.Cursor = page.Next; o.json {
			for _, s := range page.Sessions {
				if err := o.print(s); err != nil {
					return err
				}
			}
		} else {
			table.add(page.Sessions)
		}
		if more = more || limit > 0 && listed >= limit && page.Next != ""; more || page.Next == "" {
			break
		}
	}
	if !o.json {
		table.flush()
	}
	if more {
		fmt.Fprintf(o.err, "There are more than %d sessions: use --limit\n", limit)
	}
	return nil
}

func showSession(o *operator, _ caddycmd.Flags, args []string) error {
	if len(args) != 1 {
		return errors.New("write: session show ID")
	}
	var s adminSession
	if err := o.ask("show", adminQuery{ID: args[0]}, &s); err != nil {
		return err
	}
	if o.json {
		return o.print(s)
	}
	o.details(s)
	return nil
}

func endSessions(o *operator, flags caddycmd.Flags, args []string) error {
	if flags.Bool("all") == (len(args) > 0) {
		return errors.New("write: session end ID..., or: session end --all")
	}
	if flags.Bool("all") {
		return o.end(adminQuery{All: true})
	}
	var missing error
	for _, id := range args {
		switch err := o.end(adminQuery{ID: id}); {
		case errors.Is(err, errNoSuchSession):
			missing = errors.Join(missing, err)
		case err != nil:
			return err
		}
	}
	return missing
}

func endUser(o *operator, flags caddycmd.Flags, args []string) error {
	if args[0] == "" {
		return errors.New("the name of the user is empty")
	}
	return o.end(adminQuery{Subject: args[0], Realm: flags.String("realm"), Except: flags.String("except")})
}

// end ends sessions until there are no more, and tells of the progress.
func (o *operator) end(q adminQuery) error {
	total := adminEnded{}
	for {
		var answer adminEnded
		if err := o.ask("end", q, &answer); err != nil {
			if total.Ended > 0 {
				err = fmt.Errorf("%w (after %d sessions were ended)", err, total.Ended)
			}
			return err
		}
		total.Ended += answer.Ended
		if q.Cursor = answer.Next; q.Cursor == "" {
			break
		}
		fmt.Fprintf(o.err, "%d sessions ended so far ...\n", total.Ended)
	}
	if o.json {
		return o.print(total)
	}
	plural := "s"
	if total.Ended == 1 {
		plural = ""
	}
	fmt.Fprintf(o.out, "%d session%s ended\n", total.Ended, plural)
	return nil
}

func showStats(o *operator, _ caddycmd.Flags, _ []string) error {
	var n adminNumbers
	if err := o.ask("stats", adminQuery{}, &n); err != nil {
		return err
	}
	if o.json {
		return o.print(n)
	}
	o.numbers(n)
	return nil
}

var errNoSuchSession = errors.New("there is no session with this id")

// ask sends one request to the admin API.
func (o *operator) ask(action string, q adminQuery, answer any) error {
	method, body := http.MethodGet, io.Reader(nil)
	if action != "stats" {
		text, err := json.Marshal(q)
		if err != nil {
			return err
		}
		method, body = http.MethodPost, bytes.NewReader(text)
	}
	response, err := caddycmd.AdminAPIRequest(o.address, method, "/session/"+action, nil, body)
	switch {
	case err != nil && q.ID != "" && strings.Contains(err.Error(), errNoSuchSession.Error()):
		return fmt.Errorf("%s: %w", printable(q.ID), errNoSuchSession)
	case err != nil:
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("reading the answer of the admin API: %w", err)
	}
	return nil
}

package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// client is one run of a command against the admin API.
type client struct {
	address  string
	json     bool
	out, err io.Writer
}

func listSessions(c *client, flags caddycmd.Flags, _ []string) error {
	limit := flags.Int("limit")
	if limit < 0 {
		return fmt.Errorf("--limit %d is negative", limit)
	}
	q := adminQuery{Subject: flags.String("user"), Realm: flags.String("realm"), Host: flags.String("host"), Label: flags.String("label"), Limit: mostPageSize}
	table := c.table()
	listed, more := 0, false
	for {
		var page adminPage
		if err := c.ask("list", q, &page); err != nil {
			return err
		}
		if limit > 0 && len(page.Sessions) > limit-listed {
			page.Sessions, more = page.Sessions[:limit-listed], true
		}
		listed += len(page.Sessions)
		if q.Cursor = page.Next; c.json {
			for _, s := range page.Sessions {
				if err := c.print(s); err != nil {
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
	if !c.json {
		table.flush()
	}
	if more {
		fmt.Fprintf(c.err, "There are more than %d sessions: use --limit\n", limit)
	}
	return nil
}

func showSession(c *client, _ caddycmd.Flags, args []string) error {
	if len(args) != 1 {
		return errors.New("write: session show ID")
	}
	var s adminSession
	if err := c.ask("show", adminQuery{ID: args[0]}, &s); err != nil {
		return err
	}
	if c.json {
		return c.print(s)
	}
	c.details(s)
	return nil
}

func endSessions(c *client, flags caddycmd.Flags, args []string) error {
	if flags.Bool("all") == (len(args) > 0) {
		return errors.New("write: session end ID..., or: session end --all")
	}
	if flags.Bool("all") {
		return c.end(adminQuery{All: true})
	}
	var missing error
	for _, id := range args {
		switch err := c.end(adminQuery{ID: id}); {
		case errors.Is(err, errNoSuchSession):
			missing = errors.Join(missing, err)
		case err != nil:
			return err
		}
	}
	return missing
}

func endUser(c *client, flags caddycmd.Flags, args []string) error {
	if args[0] == "" {
		return errors.New("the name of the user is empty")
	}
	return c.end(adminQuery{Subject: args[0], Realm: flags.String("realm"), Except: flags.String("except")})
}

// end ends sessions until there are no more, and tells of the progress.
func (c *client) end(q adminQuery) error {
	total := adminEnded{}
	for {
		var answer adminEnded
		if err := c.ask("end", q, &answer); err != nil {
			if total.Ended > 0 {
				err = fmt.Errorf("%w (after %d sessions were ended)", err, total.Ended)
			}
			return err
		}
		total.Ended += answer.Ended
		if q.Cursor = answer.Next; q.Cursor == "" {
			break
		}
		fmt.Fprintf(c.err, "%d sessions ended so far ...\n", total.Ended)
	}
	if c.json {
		return c.print(total)
	}
	plural := "s"
	if total.Ended == 1 {
		plural = ""
	}
	fmt.Fprintf(c.out, "%d session%s ended\n", total.Ended, plural)
	return nil
}

func showStats(c *client, _ caddycmd.Flags, _ []string) error {
	var n adminNumbers
	if err := c.ask("stats", adminQuery{}, &n); err != nil {
		return err
	}
	if c.json {
		return c.print(n)
	}
	c.numbers(n)
	return nil
}

var errNoSuchSession = errors.New("there is no session with this id")

// ask sends one request to the admin API.
func (c *client) ask(action string, q adminQuery, answer any) error {
	method, body := http.MethodGet, io.Reader(nil)
	if action != "stats" {
		text, err := json.Marshal(q)
		if err != nil {
			return err
		}
		method, body = http.MethodPost, bytes.NewReader(text)
	}
	response, err := caddycmd.AdminAPIRequest(c.address, method, "/session/"+action, nil, body)
	if err != nil {
		// Without the plugin or its app, nothing is found either.
		if q.ID != "" && statusOf(err) == http.StatusNotFound && c.ask("stats", adminQuery{}, new(adminNumbers)) == nil {
			return fmt.Errorf("%s: %w", printable(q.ID), errNoSuchSession)
		}
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("reading the answer of the admin API: %w", err)
	}
	return nil
}

// statusOf returns the status of the answer that an error of AdminAPIRequest is
// about, which has it in its text only. Without an answer it is 0.
func statusOf(err error) (status int) {
	fmt.Sscanf(err.Error(), "caddy responded with error: HTTP %d:", &status)
	return status
}

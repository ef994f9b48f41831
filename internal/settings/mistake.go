package settings

import (
	"math"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Whole parses the segment that begins at the current token, and then checks what
// came of it. The check knows values, not lines. Its error is given the line
// without which there is no such mistake. If several lines make the mistake
// together, it is the one that the error names first.
func Whole[T any](to *T, d *caddyfile.Dispenser, parse func(*T, *caddyfile.Dispenser) error, check func(*T) error) error {
	segment := d.NextSegment()
	if err := parse(to, caddyfile.NewDispenser(segment)); err != nil {
		return err
	}
	mistake := check(to)
	if mistake == nil {
		return nil
	}
	culprit, least := segment[0], math.MaxInt
	for _, l := range lines(segment)[1:] {
		trial := new(T)
		if parse(trial, caddyfile.NewDispenser(slices.Concat(segment[:l.from], segment[l.to:]))) != nil {
			continue
		}
		if err := check(trial); err != nil && err.Error() == mistake.Error() {
			continue
		}
		rank := strings.Index(mistake.Error(), segment[l.from].Text)
		if rank < 0 {
			rank = math.MaxInt - 1
		}
		if l.block { // rather one of its lines
			rank = math.MaxInt
		}
		if rank <= least {
			culprit, least = segment[l.from], rank
		}
	}
	at := caddyfile.NewDispenser([]caddyfile.Token{culprit})
	at.Next()
	return at.WrapErr(mistake)
}

// line has the tokens of a line from from up to to, together with those of its
// block if it opens one.
type line struct {
	from, to int
	block    bool
}

func lines(segment caddyfile.Segment) (all []line) {
	d := caddyfile.NewDispenser(segment)
	var open []int
	for i := 0; d.Next(); {
		from := i
		i += 1 + len(d.RemainingArgsAsTokens())
		switch token := segment[from]; {
		case token.Text == "{" && !token.Quoted():
			open = append(open, len(all)-1)
		case token.Text == "}" && !token.Quoted() && len(open) > 0:
			opener := &all[open[len(open)-1]]
			opener.to, opener.block = i, true
			open = open[:len(open)-1]
		default:
			all = append(all, line{from: from, to: i})
		}
	}
	return all
}

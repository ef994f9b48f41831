package session

import (
	"strings"
	"testing"
	"time"
)

func TestTTL(t *testing.T) {
	p := DefaultPolicy()
	now := time.Unix(1790000000, 0)
	tests := []struct {
		left       time.Duration
		remembered bool
		want       time.Duration
	}{
		{24 * time.Hour, false, 30 * time.Minute},
		{30 * time.Minute, false, 30 * time.Minute},
		{time.Minute, false, time.Minute},
		{0, false, 0},
		{-time.Hour, false, -time.Hour},
		{24 * time.Hour, true, 24 * time.Hour},
		{time.Second, true, time.Second},
	}
	for _, test := range tests {
		if got := p.ttl(now, now, now.Add(test.left), test.remembered); got != test.want {
			t.Errorf("%v before the deadline, remembered %t: TTL %v, want %v", test.left, test.remembered, got, test.want)
		}
	}
}

func TestTouchDue(t *testing.T) {
	now := time.Unix(1790000000, 0)
	const m = time.Minute
	tests := []struct {
		name              string
		idle, touch, left time.Duration
		remembered        bool
		ttl               time.Duration
		want              bool
	}{
		{"fresh", 30 * m, m, 24 * 60 * m, false, 30 * m, false},
		{"lost just touch", 30 * m, m, 24 * 60 * m, false, 29 * m, false},
		{"lost more than touch", 30 * m, m, 24 * 60 * m, false, 29*m - 1, true},
		{"nearly gone", 30 * m, m, 24 * 60 * m, false, 1, true},
		{"idle was lowered", 30 * m, m, 24 * 60 * m, false, 30*m + time.Millisecond + 1, true},
		{"just written, and rounded up", 30 * m, m, 24 * 60 * m, false, 30*m + time.Millisecond, false},
		{"idle was raised", 30 * m, m, 24 * 60 * m, false, 10 * m, true},
		{"near the deadline", 30 * m, m, 5 * m, false, 5 * m, false},
		{"near the deadline, behind", 30 * m, m, 5 * m, false, 3 * m, true},
		{"at the deadline", 30 * m, m, 0, false, m, false},
		{"after the deadline", 30 * m, m, -m, false, m, false},
		{"a quarter of a short idle", 2 * m, m, 24 * 60 * m, false, 90 * time.Second, false},
		{"more than that", 2 * m, m, 24 * 60 * m, false, 90*time.Second - 1, true},
		{"remembered", 30 * m, m, 24 * 60 * m, true, 24 * 60 * m, false},
		{"remembered, more than idle", 30 * m, m, 24 * 60 * m, true, 31 * m, true},
		{"remembered, drifted", 30 * m, m, 24 * 60 * m, true, 24*60*m - time.Second, false},
		{"remember was lowered", 30 * m, m, 24 * 60 * m, true, 24*60*m + m + 1, true},
		{"remembered, drifted above", 30 * m, m, 24 * 60 * m, true, 24*60*m + m, false},
		{"near the deadline, drifted above", 30 * m, m, 5 * m, false, 5*m + time.Second, false},
		{"near the deadline, lifetime was lowered", 30 * m, m, 5 * m, false, 20 * m, true},
		{"touch 0", 30 * m, 0, 24 * 60 * m, false, 30*m - 1, true},
	}
	for _, test := range tests {
		p := DefaultPolicy()
		p.Idle, p.Touch = test.idle, test.touch
		if got := p.touchDue(now, now, now.Add(test.left), test.remembered, test.ttl); got != test.want {
			t.Errorf("%s: due %t, want %t", test.name, got, test.want)
		}
	}
}

// Whatever the limits are, the first request with the cookie of a session that
// nobody has claimed is due to touch it, and the next one is not.
func TestUnclaimedIsTouchedByTheFirstRequest(t *testing.T) {
	now := time.Unix(1790000000, 0)
	for _, idle := range []time.Duration{time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 24 * time.Hour} {
		for _, left := range []time.Duration{2 * time.Second, time.Minute, 24 * time.Hour, 400 * 24 * time.Hour} {
			for _, remembered := range []bool{false, true} {
				p := DefaultPolicy()
				p.Idle = idle
				ttl := p.ttl(now, now, now.Add(left), remembered)
				short := p.unclaimed(ttl)
				if short <= 0 || short > 10*time.Minute || !p.touchDue(now, now, now.Add(left), remembered, short) || p.touchDue(now, now, now.Add(left), remembered, ttl) {
					t.Errorf("idle %v, %v left, remembered %t: %v instead of %v", idle, left, remembered, short, ttl)
				}
			}
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	if err := DefaultPolicy().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Policy){
		"idle 0s":       func(p *Policy) { p.Idle = 0 },
		"lifetime":      func(p *Policy) { p.Lifetime = p.Idle - 1 },
		"400 days":      func(p *Policy) { p.Lifetime = maxRemember + 1 },
		"remember 0s":   func(p *Policy) { p.Remember = 0 },
		"remember 9601": func(p *Policy) { p.Remember = maxRemember + time.Hour },
		"unclaimed 0s":  func(p *Policy) { p.Unclaimed = 0 },
		"touch -1ns":    func(p *Policy) { p.Touch = -1 },
		"key":           func(p *Policy) { p.SubjectKey = "" },
		"256":           func(p *Policy) { p.SubjectKey = strings.Repeat("k", 257) },
		"subject max":   func(p *Policy) { p.MaxSessions = -1 },
		"max_data 1":    func(p *Policy) { p.MaxData = 1 },
		"16777216":      func(p *Policy) { p.MaxData = 16<<20 + 1 },
		"exposed 1":     func(p *Policy) { p.Exposed = 1 },
		"61440":         func(p *Policy) { p.Exposed = 60<<10 + 1 },
	} {
		p := DefaultPolicy()
		change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

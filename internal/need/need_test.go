package need

import (
	"runtime"
	"testing"
)

// recorder notes how a test ends.
type recorder struct {
	testing.TB
	how string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatal(...any) { r.how = "fails"; runtime.Goexit() }

func (r *recorder) Skip(...any) { r.how = "is skipped"; runtime.Goexit() }

func TestMissing(t *testing.T) {
	for ci, want := range map[string]string{"": "is skipped", "true": "fails"} {
		t.Setenv("CI", ci)
		for what, needs := range map[string]func(testing.TB){
			"program": func(t testing.TB) { Program(t, "no-such-program", "nor-this-one") },
			"file":    func(t testing.TB) { File(t, "/no/such/file", "a package") },
			"other":   func(t testing.TB) { Missing(t, "a library") },
		} {
			r, done := new(recorder), make(chan struct{})
			go func() {
				defer close(done)
				needs(r)
			}()
			if <-done; r.how != want {
				t.Errorf("a test that lacks a %s, with CI=%s: %q, want %q", what, ci, r.how, want)
			}
		}
	}
}

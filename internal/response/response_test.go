package response

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// diary is hooks, and a connection below, that note what happens in which order.
type diary struct {
	*httptest.ResponseRecorder
	refuse error
	lines  []string
}

func (d *diary) note(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) Interim(http.Header) { d.note("interim") }
func (d *diary) Sent()               { d.note("sent") }
func (d *diary) Hijacked(net.Conn)   { d.note("hijacked") }

func (d *diary) Final(_ http.Header, status int) error {
	d.note("final %d", status)
	return d.refuse
}

func (d *diary) WriteHeader(status int) { d.note("< %d", status) }

func (d *diary) Write(p []byte) (int, error) {
	d.note("< %s", p)
	return len(p), nil
}

func (d *diary) FlushError() error {
	d.note("< flush")
	return nil
}

func (d *diary) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	d.note("< hijack")
	return nil, nil, nil
}

// Whatever a handler does first, Final comes before anything goes out, once; and
// if it refuses, nothing does.
func TestWriter(t *testing.T) {
	hijack := func(w *Writer) error { _, _, err := w.Hijack(); return err }
	write := func(w *Writer) error { _, err := w.Write([]byte("a")); return err }
	header := func(status int) func(*Writer) error {
		return func(w *Writer) error { w.WriteHeader(status); return nil }
	}
	end := func(w *Writer) error { w.End(); return nil }
	for _, tt := range []struct {
		what    string
		calls   []func(*Writer) error
		want    string
		refused string // what there is if Final refuses
	}{
		{"header", []func(*Writer) error{header(201), end}, "final 201, < 201, sent", "final 201"},
		{"write", []func(*Writer) error{write, write, end}, "final 200, < 200, sent, < a, < a", "final 200"},
		{"copy", []func(*Writer) error{func(w *Writer) error {
			_, err := w.ReadFrom(io.LimitReader(strings.NewReader("a"), 1))
			return err
		}}, "final 200, < 200, sent, < a", "final 200"},
		{"flush", []func(*Writer) error{(*Writer).FlushError, end}, "final 200, < 200, sent, < flush", "final 200"},
		{"hijack", []func(*Writer) error{hijack, end}, "final 101, < hijack, hijacked, sent", "final 101"},
		{"101 and hijack", []func(*Writer) error{header(101), hijack}, "final 101, < 101, sent, < hijack, hijacked", "final 101"},
		{"nothing", []func(*Writer) error{end}, "final 0, sent", "final 0"},
		{"103", []func(*Writer) error{header(103), header(103), header(200)},
			"interim, < 103, interim, < 103, final 200, < 200, sent", "interim, < 103, interim, < 103, final 200"},
		{"header twice", []func(*Writer) error{header(200), header(500)}, "final 200, < 200, sent, < 500", "final 200"},
		{"abandoned", []func(*Writer) error{func(w *Writer) error {
			if !w.Abandon() {
				t.Error("something went out")
			}
			return nil
		}, end}, "", ""},
	} {
		for _, refuse := range []error{nil, errors.New("not saved")} {
			d := &diary{ResponseRecorder: httptest.NewRecorder(), refuse: refuse}
			var w Writer
			w.Wrap(d, d)
			for _, call := range tt.calls {
				call(&w)
			}
			want := tt.want
			if refuse != nil {
				want = tt.refused
			}
			if got := strings.Join(d.lines, ", "); got != want {
				t.Errorf("%s, refused: %v:\n got %s\nwant %s", tt.what, refuse, got, want)
			}
			if !w.Begun() || want != "" && w.Failure() != refuse {
				t.Errorf("%s: begun %v, failure %v", tt.what, w.Begun(), w.Failure())
			}
			if refuse != nil && want != "" {
				for name, call := range map[string]func(*Writer) error{"write": write, "flush": (*Writer).FlushError, "hijack": hijack} {
					if err := call(&w); err != refuse {
						t.Errorf("%s, then %s: %v", tt.what, name, err)
					}
				}
			}
		}
	}
}

func TestInterrupt(t *testing.T) {
	d := &diary{ResponseRecorder: httptest.NewRecorder()}
	var w Writer
	w.Wrap(d, d)
	if _, err := io.WriteString(&w, "a"); err != nil || w.Abandon() {
		t.Error("nothing went out", err)
	}
	w.Interrupt()
	if w.CutOff() {
		t.Error("cut off, and all that was written went out")
	}
	if _, err := io.WriteString(&w, "b"); err == nil || !w.CutOff() || slices.Contains(d.lines, "< b") {
		t.Errorf("%v, %q", err, d.lines)
	}
}

func TestSnapshot(t *testing.T) {
	header := http.Header{"A": {"1"}, "B": {"2"}, "C": nil}
	want := maps.Clone(header)
	var room [1]Field
	before := Save(room[:0], header)
	header.Set("A", "x")
	header.Del("B")
	header.Set("D", "4")
	before.Restore(header)
	if !maps.EqualFunc(header, want, slices.Equal) {
		t.Errorf("%v", header)
	}
}

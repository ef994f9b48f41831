package logging

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A query may hold secrets.
func TestRequest(t *testing.T) {
	r := httptest.NewRequest("POST", "http://example.com/a?token=secret", nil)
	r.SetBasicAuth("alice", "secret")
	enc := zapcore.NewJSONEncoder(zapcore.EncoderConfig{})
	line, err := enc.EncodeEntry(zapcore.Entry{}, []zapcore.Field{Request(r, "/a%20b")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := line.String(), `{"request":{"method":"POST","host":"example.com","path":"/a%20b"}}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		log := zap.New(core)
		var line, other Repeated
		for range 5 {
			line.Log(log.Warn, "a line", "/a", zap.String("k", "v"))
		}
		other.Log(log.Error, "another", "/a")
		time.Sleep(time.Second)
		line.Log(log.Warn, "a line", "/a")
		time.Sleep(time.Second)
		line.Log(log.Warn, "a line", "/a")
		var got []any
		for _, e := range logs.TakeAll() {
			got = append(got, e.ContextMap()["left_out"])
		}
		if len(got) != 4 || got[0] != nil || got[1] != nil || got[2] != int64(4) || got[3] != nil {
			t.Errorf("left out: %v", got)
		}

		// About different things, some of them.
		for i := range 1000 {
			line.Log(log.Warn, "a line", fmt.Sprint(i%500))
		}
		if n := len(logs.TakeAll()); n != maxLines-1 { // and the one above
			t.Errorf("%d lines in a second", n)
		}
		time.Sleep(time.Second)
		line.Log(log.Warn, "a line", "/b")
		if lines := logs.TakeAll(); len(lines) != 1 || lines[0].ContextMap()["left_out"] != int64(1000-maxLines+1) {
			t.Errorf("afterwards: %v", lines)
		}
	})
}

func TestOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	log := zap.New(core)
	var line Once
	for i := range 1000 {
		line.Log(log.Info, "a line", fmt.Sprint(i%500), zap.Int("i", i))
	}
	all := logs.TakeAll()
	if len(all) != maxLines || all[0].ContextMap()["i"] != int64(0) || all[maxLines-1].ContextMap()["i"] != int64(maxLines-1) {
		t.Errorf("%d lines: %v", len(all), all)
	}
}

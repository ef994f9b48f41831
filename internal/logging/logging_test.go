package logging

import (
	"net/http/httptest"
	"testing"

	"go.uber.org/zap/zapcore"
)

// A query may hold secrets.
func TestRequest(t *testing.T) {
	r := httptest.NewRequest("POST", "http://example.com/a?token=secret", nil)
	r.SetBasicAuth("alice", "secret")
	enc := zapcore.NewJSONEncoder(zapcore.EncoderConfig{})
	line, err := enc.EncodeEntry(zapcore.Entry{}, []zapcore.Field{Request(r)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := line.String(), `{"request":{"method":"POST","host":"example.com","path":"/a"}}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

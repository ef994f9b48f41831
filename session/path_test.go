package session

import "testing"

func TestPath(t *testing.T) {
	s := &Session{}
	s.data = []byte(`{"a.b":"dotted","a.x":{"y":"longest"},"a":{"b":"nested","c":{"d":7},"x":{"y":"short","z":"other"}},` +
		`"e":"","f":false,"n":null,"q":"say \"\u00e9\"","roles":["admin","a,b",3,true,null,["deep"],{"k":"v"}],"u":[]}`)
	for _, test := range []struct {
		path, text string
		ok         bool
	}{
		{"a.b", "dotted", true},
		{"a.c.d", "7", true},
		{"a.c", `{"d":7}`, true},
		{"a.x.y", "longest", true},
		{"a.x.z", "other", true},
		{"e", "", true},
		{"f", "false", true},
		{"q", `say "é"`, true},
		{"n", "", false}, // an application may keep null, which is no value here
		{"a.b.c", "", false},
		{"roles.0", "", false},
		{"e.f", "", false},
		{"", "", false},
		{".", "", false},
		{"..a", "", false},
		{"a.", "", false},
		{"zzz", "", false},
	} {
		if text, ok := s.Text(test.path); text != test.text || ok != test.ok {
			t.Errorf("Text(%q) = %q, %v", test.path, text, ok)
		}
		if got := s.Has(test.path); got != test.ok {
			t.Errorf("Has(%q) = %v", test.path, got)
		}
	}
	for _, test := range []struct {
		path   string
		values []string
		want   bool
	}{
		{"a.b", []string{"other", "dotted"}, true},
		{"a.b", []string{"dott", "dotted2", ""}, false},
		{"a.c.d", []string{"7"}, true},
		{"a.c.d", []string{"7.0", "07"}, false},
		{"e", []string{""}, true},
		{"f", []string{"false"}, true},
		{"n", []string{"null"}, false},
		{"q", []string{`say "é"`}, true},
		{"roles", []string{"admin"}, true},
		{"roles", []string{"a,b"}, true},
		{"roles", []string{"a", "b"}, false},
		{"roles", []string{"3"}, true},
		{"roles", []string{"true"}, true},
		{"roles", []string{"deep", `["deep"]`, "v", `{"k":"v"}`, "k"}, false},
		{"u", []string{"", "[]"}, false},
		{"a", []string{"nested", "b"}, false},
		{"zzz", []string{""}, false},
	} {
		if got := s.Has(test.path, test.values...); got != test.want {
			t.Errorf("Has(%q, %q) = %v", test.path, test.values, got)
		}
	}
	var none *Session
	if _, ok := none.Text("a"); ok || none.Has("a") {
		t.Error("an anonymous visitor has data")
	}
}

func TestMissing(t *testing.T) {
	s := &Session{}
	s.data = []byte(`{"lang":"fr","list":["a","b"],"n":7,"o":{"x":1,"y":{"z":"\u00e9"}}}`)
	for _, test := range []struct{ patch, want string }{
		{`{}`, `{}`},
		{`{"lang":"fr","n":7,"list":["a","b"]}`, `{}`},
		{`{"lang":"de","n":7}`, `{"lang":"de"}`},
		{`{"n":"7"}`, `{"n":"7"}`},
		{`{"list":["b","a"]}`, `{"list":["b","a"]}`},
		{`{"o":{"x":1}}`, `{}`},
		{`{"o":{"y":{"z":"\u00e9"},"gone":null}}`, `{}`},
		{`{"o":{"x":null}}`, `{"o":{"x":null}}`},
		{`{"o":{"y":{"z":"e"}}}`, `{"o":{"y":{"z":"e"}}}`},
		{`{"lang":null,"none":null}`, `{"lang":null}`},
		{`{"new":{}}`, `{"new":{}}`},
		{`{"lang":{}}`, `{"lang":{}}`},
	} {
		patch, err := ParseObject(test.patch)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := encodeASCII(s.Missing(patch)); string(got) != test.want {
			t.Errorf("of %s: %s, want %s", test.patch, got, test.want)
		}
	}
	var none *Session
	if got, _ := encodeASCII(none.Missing(map[string]any{"a": "b", "c": nil})); string(got) != `{"a":"b"}` {
		t.Errorf("of nothing: %s", got)
	}
	if _, err := ParseObject(`{"a":1},{"b":2}`); err == nil {
		t.Error("two objects are one")
	}
}

func BenchmarkHas(b *testing.B) {
	s := &Session{}
	s.data = []byte(`{"cart":{"sku1":2,"sku2":1},"lang":"fr","roles":["admin","editor"],"theme":"dark","user":"alice"}`)
	b.ReportAllocs()
	for b.Loop() {
		if !s.Has("roles", "editor") {
			b.Fatal("no")
		}
	}
}

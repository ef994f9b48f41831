// Package finding has what is found wrong in a configuration or with a server
// that it names.
package finding

import "go.uber.org/zap"

// Finding is one mistake, or what is probably one.
type Finding struct {
	Problem string // what is wrong, and what comes of it
	Remedy  string // what to write or do instead
	Where   []zap.Field
	Fatal   bool // nothing works like that
}

// Log writes a finding as one line.
func (f Finding) Log(log *zap.Logger) {
	if f.Fatal {
		log.Error(f.Problem+": "+f.Remedy, f.Where...)
		return
	}
	log.Warn(f.Problem+": "+f.Remedy, f.Where...)
}

package main

import "context"

// depot is where one store has its sessions.
type depot struct {
	store   string
	where   []string // for fill
	setting string   // for Caddy
	server  *process // nil if it is a file
}

// patience is what Caddy waits for a store's server: that it is slow is measured
// here, and no reason for a 503.
const patience = "timeout 5s"

// depots starts the servers that stores need. Without PostgreSQL, its store is not
// measured.
func (g *growth) depots(ctx context.Context, part string) ([]depot, error) {
	redis, port, err := g.startRedis(ctx, "redis-"+part)
	if err != nil {
		return nil, err
	}
	list := []depot{
		{"embedded", []string{"--file", g.file(part)}, embeddedStore(g.file(part)), nil},
		{"redis", []string{"--redis", address(port)}, redisStore("redis", port, patience), redis},
		{"near", []string{"--redis", address(port)}, redisStore("near", port, patience), redis},
	}
	postgres, url, err := g.startPostgres(ctx)
	if err != nil {
		g.fail("%s, postgres: %v", part, err)
		return list, ctx.Err()
	}
	g.postgres = url
	return append(list, depot{"postgres", []string{"--postgres", url + "&synchronous_commit=off"}, "postgres " + url + " {\n\t\t\t" + patience + "\n\t\t}", postgres}), nil
}

// onDepots measures on one store after the other. One that fails is not measured.
func (g *growth) onDepots(ctx context.Context, part string, measure func(depot) error) error {
	depots, err := g.depots(ctx, part)
	if err != nil {
		return err
	}
	for _, d := range depots {
		if d.store == "near" { // the same as Redis where no request has a session
			continue
		}
		if err := measure(d); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			g.fail("%s, %s: %v", part, d.store, err)
		}
	}
	return nil
}

// startDepot starts a Caddy on a store.
func (g *growth) startDepot(ctx context.Context, d depot, session string) (*server, error) {
	s, err := g.startServer(ctx, d.store, d.setting, true, session)
	if err == nil {
		s.store = d.server
	}
	return s, err
}

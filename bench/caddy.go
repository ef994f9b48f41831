package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// startCaddy starts one Caddy with a site for each contender.
func (l *lab) startCaddy(ctx context.Context, members []*contender) error {
	var c caddyfile
	switch members[len(members)-1].id {
	case "redis":
		c.store = "redis " + address(l.redis)
	case "postgres":
		c.store = "postgres " + l.postgres
	case "near":
		c.store = "redis " + address(l.redis) + " {\n\t\t\tkey_prefix near:\n\t\t\tnear_cache\n\t\t}"
	}
	for _, m := range members {
		c.sites = append(c.sites, site(m.id, address(l.upstream)))
	}
	ports, err := freePorts(len(members))
	if err != nil {
		return err
	}
	if c.admin, err = l.profiled(members); err != nil {
		return err
	}
	c.quiet = strings.HasPrefix(members[0].id, "quiet")
	var env []string
	if percent, ok := strings.CutPrefix(members[0].id, "gogc"); ok {
		env = append(env, "GOGC="+percent)
	}
	server, err := l.runCaddy(ctx, "caddy-"+members[0].id, env, c, ports, ports)
	if err != nil {
		return err
	}
	for i, m := range members {
		m.url, m.server = "http://"+address(ports[i]), server
	}
	return nil
}

// caddyfile is what the configurations here differ in.
type caddyfile struct {
	admin string   // where its API listens, or off
	store string   // the setting store of sessions; empty for the default
	quiet bool     // nothing of reverse_proxy is logged
	sites []string // the directives of each
}

// runCaddy starts a Caddy whose sites have these ports, and waits until it
// listens on those in await.
func (l *lab) runCaddy(ctx context.Context, name string, env []string, c caddyfile, ports, await []int) (*process, error) {
	var config strings.Builder
	fmt.Fprintf(&config, "{\n\tadmin %s\n\tpersist_config off\n\tauto_https off\n\tlog {\n\t\tlevel WARN\n", c.admin)
	if c.quiet {
		config.WriteString("\t\texclude http.handlers.reverse_proxy\n")
	}
	config.WriteString("\t}\n")
	if c.store != "" {
		fmt.Fprintf(&config, "\tsession {\n\t\tstore %s\n\t}\n", c.store)
	}
	config.WriteString("}\n")
	for i, site := range c.sites {
		fmt.Fprintf(&config, "\nhttp://:%d {\n\tbind 127.0.0.1\n%s}\n", ports[i], site)
	}
	file := filepath.Join(l.dir, name+".caddyfile")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return nil, err
	}
	home := filepath.Join(l.dir, name)
	env = append(env, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	return l.launch(ctx, name, env, await, l.caddy, "run", "--config", file, "--adapter", "caddyfile")
}

// site returns the directives of a contender's site.
func site(id, upstream string) string {
	proxy := "\treverse_proxy " + upstream
	switch id {
	case "nocookie", "embedded", "quiet-embedded", "redis", "near", "postgres":
		return "\tsession\n" + proxy + "\n"
	case "user":
		return "\tsession {\n\t\trequest_headers user\n\t}\n" + proxy + "\n"
	case "express-adapter":
		return "\tsession {\n\t\trequest_headers id version data expires new_id\n\t}\n" + proxy + "\n"
	case "headers":
		return "\trequest_header X-Session-Id 7KcVyzyzAhxNBZB2SXfFhQ\n\trequest_header X-Session-User alice\n\trequest_header X-Session-Version 1\n" +
			"\trequest_header X-Session-Data `{\"lang\":\"fr\",\"return\":\"/page/of/some/length\",\"roles\":[\"admin\",\"editor\"],\"user\":\"alice\"}`\n" +
			"\theader Vary Cookie\n\theader Cache-Control private\n" + proxy + "\n"
	case "kept":
		return "\tsession {\n\t\tcookies {\n\t\t\tkeep appsid\n\t\t}\n\t}\n" + proxy + "\n"
	case "keepalive":
		return proxy + " {\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 256\n\t\t}\n\t}\n"
	case "compression":
		return proxy + " {\n\t\ttransport http {\n\t\t\tcompression off\n\t\t}\n\t}\n"
	}
	return proxy + "\n"
}

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
	name := "caddy-" + members[0].id
	ports, err := freePorts(len(members))
	if err != nil {
		return err
	}
	var config strings.Builder
	config.WriteString("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tlog {\n\t\tlevel WARN\n\t}\n")
	switch members[len(members)-1].id {
	case "redis":
		fmt.Fprintf(&config, "\tsession {\n\t\tstore redis %s\n\t}\n", address(l.redis))
	case "near":
		fmt.Fprintf(&config, "\tsession {\n\t\tstore redis %s {\n\t\t\tkey_prefix near:\n\t\t\tnear_cache\n\t\t}\n\t}\n", address(l.redis))
	}
	config.WriteString("}\n")
	for i, c := range members {
		fmt.Fprintf(&config, "\nhttp://:%d {\n\tbind 127.0.0.1\n%s}\n", ports[i], site(c.id, address(l.upstream)))
	}
	file := filepath.Join(l.dir, name+".caddyfile")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return err
	}

	home := filepath.Join(l.dir, name)
	env := []string{"XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home}
	if percent, ok := strings.CutPrefix(members[0].id, "gogc"); ok {
		env = append(env, "GOGC="+percent)
	}
	server, err := l.launch(ctx, name, env, ports, l.caddy, "run", "--config", file, "--adapter", "caddyfile")
	if err != nil {
		return err
	}
	for i, c := range members {
		c.url, c.server = "http://"+address(ports[i]), server
	}
	return nil
}

// site returns the directives of a contender's site.
func site(id, upstream string) string {
	proxy := "\treverse_proxy " + upstream
	switch id {
	case "nocookie", "embedded", "redis", "near":
		return "\tsession\n" + proxy + "\n"
	case "kept":
		return "\tsession {\n\t\tcookies {\n\t\t\tkeep appsid\n\t\t}\n\t}\n" + proxy + "\n"
	case "keepalive":
		return proxy + " {\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 256\n\t\t}\n\t}\n"
	case "compression":
		return proxy + " {\n\t\ttransport http {\n\t\t\tcompression off\n\t\t}\n\t}\n"
	}
	return proxy + "\n"
}

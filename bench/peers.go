package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// find returns the first of these programs that is there.
func find(programs ...string) (string, error) {
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed, and could not be", filepath.Base(programs[0]))
}

func (l *lab) nginx() (string, error) {
	return find("nginx", "/usr/sbin/nginx", filepath.Join(l.cache, "nginx/usr/sbin/nginx"))
}

// worker is a user that workers may be when this is run by root. Root keeps
// the files, which is what the temporary directory is for.
func worker() string {
	if os.Geteuid() != 0 {
		return ""
	}
	for _, name := range []string{"www-data", "nobody"} {
		if _, err := user.Lookup(name); err == nil {
			return name
		}
	}
	return "root"
}

func (l *lab) startNginx(ctx context.Context, members []*contender) error {
	program, err := l.nginx()
	if err != nil {
		return err
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	dir := filepath.Join(l.dir, "nginx")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	as := ""
	if name := worker(); name != "" {
		as = "user " + name + ";"
	}
	// Without the keepalive lines, each request would be a connection.
	config := fmt.Sprintf(`daemon off;
pid %[1]s/nginx.pid;
error_log stderr warn;
%[2]s
worker_processes auto;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	keepalive_requests 100000000;
	upstream app { server %[3]s; keepalive 256; keepalive_requests 100000000; }
	server {
		listen %[4]s;
		location / {
			proxy_pass http://app;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_set_header X-Session-User "";
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header X-Forwarded-Host $host;
		}
	}
}
`, dir, as, address(l.upstream), address(ports[0]))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	server, err := l.launch(ctx, "nginx-server", nil, ports, program, "-p", dir, "-c", file, "-e", "stderr")
	if err != nil {
		return err
	}
	members[0].url, members[0].server = "http://"+address(ports[0]), server
	return nil
}

const apacheModules = "/usr/lib/apache2/modules"

func apache() (string, error) { return find("apache2", "/usr/sbin/apache2") }

func (l *lab) startApache(ctx context.Context, members []*contender) error {
	program, err := apache()
	if err != nil {
		return err
	}
	ports, err := freePorts(len(members))
	if err != nil {
		return err
	}
	dir := filepath.Join(l.dir, members[0].id)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var config strings.Builder
	fmt.Fprintf(&config, "ServerRoot %[1]s\nServerName localhost\nPidFile %[1]s/pid\nErrorLog %[1]s/error.log\nDefaultRuntimeDir %[1]s\n", dir)
	modules := []string{"mpm_event", "authz_core", "headers", "env", "request", "proxy", "proxy_http"}
	if members[0].id != "apache-bare" {
		modules = append(modules, "session", "session_cookie", "session_crypto")
	}
	for _, module := range modules {
		file := filepath.Join(apacheModules, "mod_"+module+".so")
		if _, err := os.Stat(file); err != nil {
			return err
		}
		fmt.Fprintf(&config, "LoadModule %s_module %s\n", module, file)
	}
	if name := worker(); name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&config, "User %s\nGroup #%s\n", name, u.Gid)
	}
	// As many threads as it may have by default, from the start: Apache closes
	// connections when it is short of threads and when it has too many.
	config.WriteString("StartServers 16\nMinSpareThreads 75\nMaxSpareThreads 400\nKeepAlive On\nMaxKeepAliveRequests 0\nProxyRequests Off\n")
	for i, c := range members {
		fmt.Fprintf(&config, "Listen %s\n<VirtualHost %[1]s>\n\tProxyPass / http://%s/\n\tProxyPreserveHost On\n\tRequestHeader unset X-Session-User\n",
			address(ports[i]), address(l.upstream))
		if c.id != "apache-bare" {
			// It is written again at most once a minute, as Caddy's is.
			config.WriteString("\tSession On\n\tSessionCookieName session path=/;HttpOnly\n\tSessionHeader X-Replace-Session\n" +
				"\tSessionMaxAge 1800\n\tSessionExpiryUpdateInterval 60\n\tSessionEnv On\n" +
				"\tRequestHeader set X-Session-User %{HTTP_SESSION}e env=HTTP_SESSION\n")
		}
		if c.id == "apache-crypto" {
			config.WriteString("\tSessionCryptoPassphrase of-a-benchmark-on-127.0.0.1-only\n")
		}
		config.WriteString("</VirtualHost>\n")
	}
	file := filepath.Join(dir, "apache2.conf")
	if err := os.WriteFile(file, []byte(config.String()), 0o644); err != nil {
		return err
	}
	server, err := l.launch(ctx, members[0].id, nil, ports, program, "-d", dir, "-f", file, "-D", "FOREGROUND")
	if err != nil {
		said, _ := os.ReadFile(filepath.Join(dir, "error.log"))
		return fmt.Errorf("%w %s", err, said)
	}
	for i, c := range members {
		c.url, c.server = "http://"+address(ports[i]), server
	}
	return nil
}

func (l *lab) startScs(ctx context.Context, members []*contender) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	arguments := []string{"-listen", address(ports[0]), "-upstream", address(l.upstream)}
	if members[0].store != "" {
		arguments = append(arguments, "-redis", address(l.redis))
	}
	server, err := l.launch(ctx, members[0].id, nil, ports, filepath.Join(l.cache, "bin", "scsproxy"), arguments...)
	if err != nil {
		return err
	}
	members[0].url, members[0].server = "http://"+address(ports[0]), server
	return nil
}

// startExpress starts one of them; each is a process, and some have a Caddy in
// front.
func (l *lab) startExpress(ctx context.Context, members []*contender) error {
	program, err := find("node", "nodejs")
	if err != nil {
		return err
	}
	dir := filepath.Join(l.cache, "express")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "connect-redis")); err != nil {
		return errors.New("express-session and connect-redis are not installed, and could not be")
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	c := members[0]
	sessions := "none"
	if c.store != "" {
		sessions = strconv.Itoa(l.redis)
	}
	arguments := []string{filepath.Join(dir, "server.js"), strconv.Itoa(ports[0]), sessions}
	front := caddyfile{sites: []string{site(c.id, address(ports[0]))}}
	switch c.id {
	case "express-bare", "express":
		arguments = append(arguments, strconv.Itoa(l.upstream))
	case "express-adapter":
		arguments = append(arguments, "adapter")
		front.store = "redis " + address(l.redis)
	}
	server, err := l.launch(ctx, c.id, []string{"NODE_ENV=production"}, ports, program, arguments...)
	if err != nil {
		return err
	}
	c.server = server
	if slices.Contains([]string{"express-behind-bare", "express-behind", "express-adapter"}, c.id) {
		c.behind = server
		if ports, err = freePorts(1); err != nil {
			return err
		}
		if front.admin, err = l.profiled(members); err != nil {
			return err
		}
		if c.server, err = l.runCaddy(ctx, "caddy-"+c.id, nil, front, ports, ports); err != nil {
			return err
		}
	}
	c.url = "http://" + address(ports[0])
	return nil
}

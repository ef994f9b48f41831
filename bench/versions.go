package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// versions returns the names and versions of what was measured.
func (l *lab) versions() []string {
	list := slices.DeleteFunc(l.serverVersions(), func(v string) bool { return l.stores["redis"] == nil && strings.HasPrefix(v, "Redis") })
	list = append(list, "wrk "+said("wrk", "-v"))
	if l.stores["postgres"] != nil {
		list = append(list, postgresVersion())
	}
	if l.shows("nginx") {
		program, _ := l.nginx()
		list = append(list, "nginx "+said(program, "-v"))
	}
	if l.shows("apache-bare", "apache", "apache-crypto") {
		program, _ := apache()
		list = append(list, "Apache "+said(program, "-v"))
	}
	if l.shows("scs-bare", "scs") {
		list = append(list, l.modules()...)
	}
	if l.shows("express-bare", "express-self-bare", "express-behind-bare") {
		program, _ := find("node", "nodejs")
		list = append(list, "Node "+said(program, "--version"))
		for _, name := range []string{"express", "express-session", "connect-redis", "redis"} {
			list = append(list, name+" "+l.npmVersion(name))
		}
	}
	return list
}

// serverVersions returns those of Go, Caddy and Redis.
func (l *lab) serverVersions() []string {
	return []string{"Go " + strings.TrimPrefix(runtime.Version(), "go"), "Caddy " + said(l.caddy, "version"),
		"Redis " + said("redis-server", "--version")}
}

func postgresVersion() string {
	program, _ := postgresProgram("postgres")
	return "PostgreSQL " + said(program, "--version")
}

var version = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)*`)

// said returns the first version in what a program says. Some say it with an
// exit status that means failure.
func said(program string, arguments ...string) string {
	output, _ := exec.Command(program, arguments...).CombinedOutput()
	if v := version.Find(output); v != nil {
		return string(v)
	}
	return "of unknown version"
}

// modules returns what the proxy with scs is made of.
func (l *lab) modules() []string {
	command := exec.Command("go", "version", "-m", filepath.Join(l.cache, "bin", "scsproxy"))
	output, err := command.Output()
	if err != nil {
		return nil
	}
	_, text, _ := strings.Cut(string(output), "\n")
	info, err := debug.ParseBuildInfo(text)
	if err != nil {
		return nil
	}
	var list []string
	for _, module := range info.Deps {
		switch module.Path {
		case "github.com/alexedwards/scs/v2":
			list = append(list, "scs "+module.Version)
		case "github.com/redis/go-redis/v9":
			list = append(list, "go-redis "+module.Version)
		}
	}
	return list
}

func (l *lab) npmVersion(name string) string {
	var manifest struct{ Version string }
	text, err := os.ReadFile(filepath.Join(l.cache, "express", "node_modules", name, "package.json"))
	if err != nil || json.Unmarshal(text, &manifest) != nil {
		return "of unknown version"
	}
	return manifest.Version
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report writes the tables to the standard output and all files.
func (g *growth) report() error {
	var md strings.Builder
	g.writePoints(&md, "sessions", "stored sessions", thousands)
	g.writePoints(&md, "data", "data of a session", dataSize)
	g.writeParallel(&md)
	g.writeFigures(&md)
	g.writeSweep(&md)
	g.writeStarts(&md)
	for _, reason := range g.failed {
		fmt.Fprintf(&md, "- **Not measured**: %s.\n", strings.TrimSuffix(reason, "."))
	}
	versions := g.serverVersions()
	if g.postgres != "" {
		versions = append(versions, postgresVersion())
	}
	numbers := strings.Trim(strings.ReplaceAll(fmt.Sprint(g.sessions), " ", ","), "[]")
	fmt.Fprintf(&md, "\n%s, %s. %s.\n\n```\n./bench/run growth --sessions %s --rounds %d --seconds %d --connections %d --user-sessions %d --sockets %d --only %s\n```\n",
		g.began.UTC().Format(time.DateOnly), machine(), strings.Join(versions, ", "),
		numbers, g.rounds, g.seconds, g.connections, g.userSessions, g.sockets, strings.Join(g.only, ","))
	fmt.Print(md.String())
	for name, content := range map[string]string{"growth.md": md.String(), "growth.csv": g.csv()} {
		if err := os.WriteFile(filepath.Join(g.out, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	g.say("written to growth.md and growth.csv in %s", g.out)
	return nil
}

// thousands returns a number with separators.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// dataSize returns a number of bytes as people say it.
func dataSize(n int) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n/1024)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func (p *point) loads() []sample {
	var list []sample
	for _, s := range p.samples {
		list = append(list, s.sample)
	}
	return list
}

// ofPoint returns the spread of a number that each sample of a point has.
func ofPoint(p *point, number func(sample) float64) spread { return of(p.loads(), number) }

// partPoints returns the points of a part that were measured, store by store.
func (g *growth) partPoints(part string) []*point {
	var points []*point
	for _, p := range g.points {
		if p.part == part && len(p.samples) > 0 {
			points = append(points, p)
		}
	}
	slices.SortStableFunc(points, func(a, b *point) int {
		return slices.Index(growthStores, a.store) - slices.Index(growthStores, b.store)
	})
	return points
}

func (g *growth) writePoints(b *strings.Builder, part, of string, name func(int) string) {
	points := g.partPoints(part)
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(b, "| store | %s | requests/s | p50 | p99 | CPU of Caddy per request | to the smallest | p50, to the smallest | CPU of the store | memory of Caddy | and mapped file | memory of the store |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n", of)
	var smallest []sample // of the same store; its points are in ascending order
	for i, p := range points {
		if i == 0 || points[i-1].store != p.store {
			smallest = p.loads()
		}
		cpu, p50 := ratio(p.loads(), smallest, cpuOf).format("%.2f"), ratio(p.loads(), smallest, p50Of).format("%.2f")
		last := p.samples[len(p.samples)-1]
		storeCPU, storeMemory := "–", "–"
		if p.server.store != nil {
			storeCPU = fmt.Sprintf("%.1f µs", ofPoint(p, storeCPUOf).median)
			storeMemory = fmt.Sprintf("%.0f MB", float64(last.storeMemory)/1e6)
		}
		fmt.Fprintf(b, "| %s | %s | %.0f | %.2f ms | %.2f ms | %s µs | %s | %s | %s | %.0f MB | %.0f MB | %s |\n", p.store, name(p.of),
			ofPoint(p, rateOf).median, ofPoint(p, p50Of).median, ofPoint(p, p99Of).median, ofPoint(p, cpuOf).format("%.0f"), cpu, p50, storeCPU,
			float64(last.anonymous)/1e6, float64(last.memory-last.anonymous)/1e6, storeMemory)
	}
	b.WriteString("\n")
}

func (g *growth) writeParallel(b *strings.Builder) {
	points := g.partPoints("parallel")
	if len(points) == 0 {
		return
	}
	b.WriteString("| store | parallel requests on one session | | requests/s | p50 | p99 | CPU of Caddy per request |\n|---|---|---|---|---|---|---|\n")
	for _, p := range points {
		fmt.Fprintf(b, "| %s | %d | %s | %.0f | %.2f ms | %.2f ms | %s µs |\n", p.store, p.of, p.kind,
			ofPoint(p, rateOf).median, ofPoint(p, p50Of).median, ofPoint(p, p99Of).median, ofPoint(p, cpuOf).format("%.0f"))
	}
	b.WriteString("\nAfter each run the version had grown by the number of commits, and each connection's key had its last value.\n\n")
}

func (g *growth) writeSweep(b *strings.Builder) {
	if len(g.sweeps) == 0 {
		return
	}
	s := g.sweeps[0]
	n := slices.Max(g.sessions)
	fmt.Fprintf(b, "%s sessions expire within a second; they are swept in %.0f s. p99 meanwhile:\n\n", thousands(n), s.to.Sub(s.from).Seconds())
	b.WriteString("| | before | during | after | during to before | the worst second |\n|---|---|---|---|---|---|\n")
	rates := map[string]int{"reads": sweepReads, "commits": sweepCommits}
	for _, s := range g.sweeps {
		x, y, z := s.phases()
		before, during, after := percentile(x, 0.99), percentile(y, 0.99), percentile(z, 0.99)
		fmt.Fprintf(b, "| %d %s/s | %.2f ms | %.2f ms | %.2f ms | %.2f | %.2f ms |\n", rates[s.kind], s.kind, ms(before), ms(during), ms(after),
			float64(during)/float64(before), ms(slices.Max(s.seconds()[3:])))
	}
	b.WriteString("\n")
}

func (g *growth) writeStarts(b *strings.Builder) {
	if len(g.starts) == 0 {
		return
	}
	b.WriteString("| stored sessions | start after | time to the first answer with a session |\n|---|---|---|\n")
	took := map[start][]float64{}
	var keys []start
	for _, s := range g.starts {
		key := start{sessions: s.sessions, after: s.after}
		if took[key] == nil {
			keys = append(keys, key)
		}
		took[key] = append(took[key], s.took.Seconds())
	}
	for _, key := range keys {
		fmt.Fprintf(b, "| %s | %s | %s s |\n", thousands(key.sessions), key.after, spreadOf(took[key]).format("%.2f"))
	}
	b.WriteString("\n")
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

// csv has every run, every second of the sweep and every start.
func (g *growth) csv() string {
	var b strings.Builder
	b.WriteString("part,store,of,kind,round,requests_per_s,p50_ms,p99_ms,cpu_us,store_cpu_us,memory_mb,file_mb,store_memory_mb\n")
	for _, p := range g.points {
		for i, s := range p.samples {
			fmt.Fprintf(&b, "%s,%s,%d,%s,%d,%.0f,%.3f,%.3f,%.2f,%.2f,%.1f,%.1f,%.1f\n", p.part, p.store, p.of, p.kind, i+1, s.rate,
				p50Of(s.sample), p99Of(s.sample), cpuOf(s.sample), storeCPUOf(s.sample),
				float64(s.anonymous)/1e6, float64(s.memory-s.anonymous)/1e6, float64(s.storeMemory)/1e6)
		}
	}
	b.WriteString("\npart,kind,second,swept,p99_ms\n")
	for _, s := range g.sweeps {
		for i, p99 := range s.seconds() {
			at := s.began.Add(time.Duration(i) * time.Second)
			phase := "during"
			if at.Before(s.from) {
				phase = "before"
			} else if !at.Before(s.to) {
				phase = "after"
			}
			fmt.Fprintf(&b, "sweep,%s,%d,%s,%.3f\n", s.kind, i, phase, ms(p99))
		}
	}
	b.WriteString("\npart,store,what,round,value\n")
	for _, f := range g.figures {
		for i, value := range f.values {
			fmt.Fprintf(&b, "%s,%s,\"%s\",%d,%.3f\n", f.part, f.store, f.what, i+1, value)
		}
	}
	b.WriteString("\npart,of,after,s\n")
	for _, s := range g.starts {
		fmt.Fprintf(&b, "start,%d,\"%s\",%.3f\n", s.sessions, s.after, s.took.Seconds())
	}
	return b.String()
}

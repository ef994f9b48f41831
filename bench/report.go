package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report writes the table to the standard output and all files.
func (l *lab) report(all samples) error {
	var md strings.Builder
	l.writeTable(&md, all)
	l.writeNotes(&md, all)
	fmt.Print(md.String())
	for name, content := range map[string]string{"speed.md": md.String(), "speed.svg": l.chart(all), "speed.csv": l.csv(all)} {
		if err := os.WriteFile(filepath.Join(l.out, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "bench: written to speed.md, speed.svg and speed.csv in %s\n", l.out)
	return nil
}

func (l *lab) writeTable(b *strings.Builder, all samples) {
	b.WriteString("| | requests/s | against bare | p50 | p99 | CPU per request | against bare | session costs, µs | CPU of the store | memory |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range l.contenders {
		if c.hidden {
			continue
		}
		list, against := all[c.id], all[c.against]
		rate, cpu := "1", "1"
		if c.against != "" {
			rate, cpu = ratio(list, against, rateOf).format("%.2f"), ratio(list, against, cpuOf).format("%.2f")
		}
		costs, store := "–", "–"
		if c.over != "" {
			costs = tax(list, all[c.over]).format("%.1f")
		}
		if c.store != "" {
			store = fmt.Sprintf("%.1f µs", of(list, storeCPUOf).median)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %.2f ms | %.2f ms | %s µs | %s | %s | %s | %.0f MB |\n", c.name, of(list, rateOf).format("%.0f"), rate,
			of(list, p50Of).median, of(list, p99Of).median, of(list, cpuOf).format("%.1f"), cpu, costs, store, of(list, memoryOf).max)
	}
}

// format returns the median, and the smallest and largest if these are others.
func (s spread) format(number string) string {
	middle, low, high := fmt.Sprintf(number, s.median), fmt.Sprintf(number, s.min), fmt.Sprintf(number, s.max)
	if low == high {
		return middle
	}
	return fmt.Sprintf("%s (%s–%s)", middle, low, high)
}

func (l *lab) writeNotes(b *strings.Builder, all samples) {
	if l.rounds == 1 {
		fmt.Fprintf(b, "\nOne round of %d s for each. ", l.seconds)
	} else {
		fmt.Fprintf(b, "\nMedians of %d rounds of %d s for each, with the smallest and largest in parentheses. Each round runs everything, "+
			"every other one backwards. Ratios are those of one round. ", l.rounds, l.seconds)
	}
	for _, pair := range [][2]string{{"bare-redis", "Redis"}, {"bare-near", "the near-cache"}, {"bare-postgres", "PostgreSQL"}} {
		if list := all[pair[0]]; len(list) > 0 {
			fmt.Fprintf(b, "What uses %s is compared to a bare site of the same process, which made %s requests/s at %s µs. ",
				pair[1], of(list, rateOf).format("%.0f"), of(list, cpuOf).format("%.1f"))
		}
	}
	if adapter, behind := all["express-adapter"], all["express-behind"]; len(adapter) > 0 && len(behind) > 0 {
		fmt.Fprintf(b, "The application with `adapters/express` made %s times the requests of the one with express-session, and took %s of its CPU time per request. ",
			ratio(adapter, behind, rateOf).format("%.2f"), ratio(adapter, behind, cpuOf).format("%.2f"))
	}
	b.WriteString("What a session costs is the CPU time per request beyond that of the same proxy without sessions in the same round; that of the store's server is not in it. " +
		"CPU is that of the server with all its processes, and so is the memory, which is the most that was seen after a run; the upstream and wrk run on the same cores. " +
		"Before and after each run one request makes sure that the session is read.\n\n")
	for _, c := range l.contenders {
		if c.note != "" {
			fmt.Fprintf(b, "- %s: %s.\n", c.name, c.note)
		}
	}
	for _, c := range l.contenders {
		var lost int64
		for _, s := range all[c.id] {
			lost += s.lost
		}
		if lost > 0 {
			fmt.Fprintf(b, "- %s: %d connections failed or were closed in all rounds together.\n", c.name, lost)
		}
	}
	for _, missing := range l.missing {
		fmt.Fprintf(b, "- **Not measured**: %s.\n", strings.TrimSuffix(missing, "."))
	}
	headers := fmt.Sprintf("and the %d request headers of a browser", len(browser))
	if l.headers == "none" {
		headers = "without further request headers"
	}
	fmt.Fprintf(b, "\n%s, %s. %s.\n\n```\n%s\nwrk %s http://127.0.0.1:PORT/    # %s, and the cookie\n```\n",
		l.began.UTC().Format(time.DateOnly), machine(), strings.Join(l.versions(), ", "), l.command(), strings.Join(l.wrkArguments(l.seconds), " "), headers)
}

// command is how this was started, without what says where files are.
func (l *lab) command() string {
	command := fmt.Sprintf("./bench/run --rounds %d --seconds %d --warmup %d --connections %d --threads %d --headers %s",
		l.rounds, l.seconds, l.warmup, l.connections, l.threads, l.headers)
	if len(l.only) > 0 {
		command += " --only " + strings.Join(l.only, ",")
	}
	if l.profile != "" {
		command += " --profile DIR"
	}
	if l.tuning {
		command += " --tuning"
	}
	return command
}

// machine describes this one, as far as it says.
func machine() string {
	var parts []string
	cores := fmt.Sprintf("%d cores", runtime.NumCPU())
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, model, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				cores += " of " + strings.TrimSpace(model)
				break
			}
		}
	}
	parts = append(parts, cores)
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib float64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %f kB", &kib); err == nil {
			parts = append(parts, fmt.Sprintf("%.0f GiB", kib/(1<<20)))
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, "Linux "+strings.TrimSpace(string(text)))
	}
	return strings.Join(parts, ", ")
}

// csv has every run, for those who want to calculate themselves.
func (l *lab) csv(all samples) string {
	var b strings.Builder
	b.WriteString("round,contender,against,requests_per_s,p50_ms,p99_ms,cpu_us,session_us,store_cpu_us,memory_mb\n")
	for round := range l.rounds {
		for _, c := range l.contenders {
			s, costs := all[c.id][round], ""
			if c.over != "" {
				costs = fmt.Sprintf("%.2f", cpuOf(s)-cpuOf(all[c.over][round]))
			}
			fmt.Fprintf(&b, "%d,%s,%s,%.0f,%.3f,%.3f,%.2f,%s,%.2f,%.1f\n", round+1, c.id, c.against, s.rate, p50Of(s), p99Of(s), cpuOf(s), costs, storeCPUOf(s), memoryOf(s))
		}
	}
	return b.String()
}

// shows reports whether any of these contenders has been measured.
func (l *lab) shows(ids ...string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return l.find(id) != nil })
}

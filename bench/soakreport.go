package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// flat is up to how many percent a minute a slope counts as none. More is
// growth if it is also more than twice its standard error: traffic at random
// goes up and down.
const flat = 1

// report writes the tables to the standard output and all files.
func (s *soak) report() error {
	var md strings.Builder
	for _, b := range s.baths {
		b.write(&md)
	}
	fmt.Fprintf(&md, "Slopes are those of the last two thirds, by least squares, with the standard error. The heap is what is in use after a garbage collection. "+
		"For Redis, sessions are all keys, those of the index too. Every answer was checked. "+
		"The machine has kept this program, too, waiting for up to %.0f ms.\n\n", ms(s.stall))
	fmt.Fprintf(&md, "%s, %s. %s.\n\n```\n./bench/run soak --duration %v --visitors %d --only %s\n```\n", s.began.UTC().Format(time.DateOnly), machine(),
		strings.Join(s.serverVersions(), ", "), s.duration, s.visitors, strings.Join(s.only, ","))
	fmt.Print(md.String())
	for name, content := range map[string]string{"soak.md": md.String(), "soak.svg": s.chart(), "soak.csv": s.csv()} {
		if err := os.WriteFile(filepath.Join(s.out, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	s.say("written to soak.md, soak.svg and soak.csv in %s", s.out)
	return nil
}

func (b *bath) write(md *strings.Builder) {
	fmt.Fprintf(md, "| %s | requests | unexpected | heap | RSS | goroutines | open files | sessions |\n|---|---|---|---|---|---|---|---|\n", b.store)
	row := func(name string, o observation) {
		fmt.Fprintf(md, "| %s | %d | %d | %.1f MB | %.1f MB | %d | %d | %d |\n", name, o.requests, o.wrong,
			float64(o.heap)/1e6, float64(o.rss)/1e6, o.goroutines, o.files, o.sessions)
	}
	row("before", b.before)
	for _, o := range b.during {
		if o.at%time.Minute == 0 {
			row(fmt.Sprintf("%d min", o.at/time.Minute), o)
		}
	}
	row("after", b.after)
	heap, heapError := b.slope(heapOf)
	goroutines, goroutinesError := b.slope(goroutinesOf)
	verdict := "flat"
	if max(heap-2*heapError, goroutines-2*goroutinesError) > flat {
		verdict = "**not flat**"
	}
	fmt.Fprintf(md, "\n%s: %s; heap %+.2f (± %.2f) %% and goroutines %+.2f (± %.2f) %% per minute. Afterwards %+d goroutines and %+d open files, %d sessions. %d of %d answers were unexpected.\n\n",
		b.store, verdict, heap, heapError, goroutines, goroutinesError, b.after.goroutines-b.before.goroutines, b.after.files-b.before.files, b.after.sessions, b.after.wrong, b.after.requests)
	for _, wrong := range b.shown {
		fmt.Fprintf(md, "- %s\n", wrong)
	}
	if len(b.shown) > 0 {
		md.WriteString("\n")
	}
}

func heapOf(o observation) float64       { return float64(o.heap) / 1e6 }
func goroutinesOf(o observation) float64 { return float64(o.goroutines) }

// slope returns by how many percent of its mean a number grows in a minute, and
// the standard error of that.
func (b *bath) slope(number func(observation) float64) (percent, standardError float64) {
	list := b.during[len(b.during)/3:]
	var x, y float64 // means
	for _, o := range list {
		x += o.at.Minutes() / float64(len(list))
		y += number(o) / float64(len(list))
	}
	var xy, xx float64
	for _, o := range list {
		xy += (o.at.Minutes() - x) * (number(o) - y)
		xx += (o.at.Minutes() - x) * (o.at.Minutes() - x)
	}
	slope := xy / xx
	var squares float64 // of what is left
	for _, o := range list {
		rest := number(o) - y - slope*(o.at.Minutes()-x)
		squares += rest * rest
	}
	return 100 * slope / y, 100 * math.Sqrt(squares/float64(len(list)-2)/xx) / y
}

func (s *soak) csv() string {
	var b strings.Builder
	b.WriteString("store,s,requests,unexpected,heap_mb,rss_mb,pss_mb,goroutines,files,sessions,open_connections\n")
	for _, bath := range s.baths {
		for _, o := range bath.during {
			fmt.Fprintf(&b, "%s,%.0f,%d,%d,%.2f,%.1f,%.1f,%d,%d,%d,%d\n", bath.store, o.at.Seconds(), o.requests, o.wrong, heapOf(o),
				float64(o.rss)/1e6, float64(o.pss)/1e6, o.goroutines, o.files, o.sessions, o.connections)
		}
	}
	return b.String()
}

// The chart's measures, in pixels, besides those of the other one.
const (
	panelLeft   = 64
	panelTop    = chartTop + 20
	panelHeight = 170
	panelGap    = 60
)

// chart draws heaps and goroutines over time.
func (s *soak) chart() string {
	var b strings.Builder
	height := panelTop + 2*panelHeight + panelGap + chartBottom
	chartHead(&b, height, "Heap and goroutines during the soak",
		"Heap after a garbage collection, and goroutines, of Caddy under mixed traffic",
		fmt.Sprintf("%v, %d visitors for each store at a time.", s.duration, s.visitors))
	x := chartWidth - 20
	for i := len(s.baths) - 1; i >= 0; i-- {
		x -= 110
		fmt.Fprintf(&b, `<line class="line%d" x1="%d" x2="%d" y1="46" y2="46"/><text x="%d" y="50">%s</text>`+"\n", i, x-24, x-6, x, s.baths[i].store)
	}
	s.panel(&b, panelTop, "heap, MB", heapOf)
	s.panel(&b, panelTop+panelHeight+panelGap, "goroutines", goroutinesOf)
	b.WriteString("</svg>\n")
	return b.String()
}

// panel draws one number of all stores, from 0 on.
func (s *soak) panel(b *strings.Builder, top int, name string, number func(observation) float64) {
	most := 1.0
	for _, bath := range s.baths {
		for _, o := range bath.during {
			most = max(most, number(o))
		}
	}
	base := top + panelHeight
	width := float64(chartWidth - panelLeft - 30)
	fmt.Fprintf(b, `<text class="dim" x="%d" y="%d">%s</text>`+"\n", panelLeft, top-8, name)
	for i := range 5 {
		y, value := float64(base)-float64(i)/4*panelHeight, most*1.1*float64(i)/4
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%.1f" y1="%.1f" y2="%[3]f"/><text class="dim" x="%d" y="%.1f" text-anchor="end">%.3g</text>`+"\n",
			panelLeft, panelLeft+width, y, panelLeft-8, y+4, value)
		at := s.duration * time.Duration(i) / 4
		fmt.Fprintf(b, `<text class="dim" x="%.1f" y="%d" text-anchor="middle">%v</text>`+"\n", panelLeft+width*float64(i)/4, base+18, at.Round(time.Second))
	}
	for i, bath := range s.baths {
		var points []string
		for _, o := range bath.during {
			points = append(points, fmt.Sprintf("%.1f,%.1f", panelLeft+width*o.at.Seconds()/s.duration.Seconds(), float64(base)-number(o)/most/1.1*panelHeight))
		}
		fmt.Fprintf(b, `<polyline class="line%d" points="%s"/>`+"\n", i, strings.Join(points, " "))
	}
}

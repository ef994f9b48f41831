package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The chart's measures, in pixels.
const (
	chartWidth  = 820
	chartLabels = 380 // what the names take
	chartRow    = 28
	chartTop    = 70
	chartBottom = 44
	chartBars   = chartWidth - chartLabels - 90 // the rest is for numbers
)

// chart draws the throughput of all contenders against bare Caddy's, with the
// smallest and the largest ratio. It has a background of its own, so that it
// can be read in front of any other, and follows the browser's colours.
func (l *lab) chart(all samples) string {
	type bar struct {
		name string
		ours bool
		spread
	}
	var bars []bar
	longest := 1.0
	for _, c := range l.contenders {
		if c.against != "" {
			s := ratio(all[c.id], all[c.against], rateOf)
			longest = max(longest, s.max)
			bars = append(bars, bar{strings.ReplaceAll(c.name, "`", ""), strings.HasPrefix(c.name, "Caddy, session"), s})
		}
	}
	step := 0.25
	for longest/step > 6 {
		step *= 2
	}
	end := math.Ceil(longest/step) * step
	x := func(ratio float64) float64 { return chartLabels + ratio/end*chartBars }
	height := chartTop + len(bars)*chartRow + chartBottom
	base := chartTop + len(bars)*chartRow

	var b strings.Builder
	chartHead(&b, height, "Throughput against bare Caddy", "Requests per second, against bare Caddy in the same round",
		fmt.Sprintf("Bars are medians of %d rounds, lines go from the smallest to the largest. More is better.", l.rounds))
	for tick := 0.0; tick <= end+step/2; tick += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="dim" x="%.1f" y="%d" text-anchor="middle">%.2f</text>`+"\n",
			x(tick), x(tick), chartTop, base, x(tick), base+18, tick)
	}
	for i, bar := range bars {
		y := chartTop + i*chartRow
		class := "peer"
		if bar.ours {
			class = "ours"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLabels-10, y+18, html.EscapeString(bar.name))
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, chartLabels, y+5, x(bar.median)-chartLabels, chartRow-10)
		fmt.Fprintf(&b, `<line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(bar.min), x(bar.max), y+chartRow/2, y+chartRow/2)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%.2f</text>`+"\n", x(max(bar.median, bar.max))+8, y+18, bar.median)
	}
	fmt.Fprintf(&b, `<line class="bare" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", x(1), x(1), chartTop-4, base)
	b.WriteString("</svg>\n")
	return b.String()
}

// chartHead begins a chart: its colours, which follow the browser's, and its
// title.
func chartHead(b *strings.Builder, height int, label, title, note string) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-label="%[3]s">
<style>
	text { font: 13px system-ui, sans-serif; fill: #1c2430; }
	.title { font-size: 15px; font-weight: 600; }
	.dim { fill: #5b6675; font-size: 12px; }
	.card { fill: #ffffff; stroke: #d9dee6; }
	.grid { stroke: #e3e7ed; }
	.bare { stroke: #5b6675; stroke-dasharray: 4 3; }
	.ours { fill: #2563c9; }
	.peer { fill: #9aa5b5; }
	.range { stroke: #1c2430; stroke-width: 1.5; }
	.line0, .line1, .line2 { fill: none; stroke-width: 1.5; stroke: #2563c9; }
	.line1 { stroke: #c2571a; }
	.line2 { stroke: #2b8a57; }
	@media (prefers-color-scheme: dark) {
		text { fill: #e4e9f0; }
		.dim { fill: #9aa5b5; }
		.card { fill: #161b22; stroke: #333e4e; }
		.grid { stroke: #2a3340; }
		.bare { stroke: #9aa5b5; }
		.ours { fill: #5b95f0; }
		.peer { fill: #5c6878; }
		.range { stroke: #e4e9f0; }
		.line0 { stroke: #5b95f0; }
		.line1 { stroke: #f0935b; }
		.line2 { stroke: #5bc08a; }
	}
</style>
<rect class="card" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>
<text class="title" x="20" y="30">%s</text>
<text class="dim" x="20" y="50">%s</text>
`, chartWidth, height, html.EscapeString(label), chartWidth-1, height-1, html.EscapeString(title), html.EscapeString(note))
}

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

// chart draws what a session costs everybody in CPU time, with the smallest and
// the largest difference. It has a background of its own, so that it can be read
// in front of any other, and follows the browser's colours.
func (l *lab) chart(all samples) string {
	type bar struct {
		name string
		ours bool
		spread
	}
	var bars []bar
	var medians []float64
	for _, c := range l.contenders {
		if c.over != "" {
			s := tax(all[c.id], all[c.over])
			medians = append(medians, s.median)
			bars = append(bars, bar{strings.ReplaceAll(c.name, "`", ""), strings.Contains(c.name, "Caddy, session"), s})
		}
	}
	end, step := chartScale(medians)
	x := func(µs float64) float64 { return chartLabels + min(max(µs, 0), end)/end*chartBars }
	height := chartTop + len(bars)*chartRow + chartBottom
	base := chartTop + len(bars)*chartRow

	var b strings.Builder
	chartHead(&b, height, "What a session costs", "What a session costs: CPU time per request beyond the same proxy without, µs",
		fmt.Sprintf("Bars are medians of %d paired rounds, lines go from the smallest to the largest. Less is better.", l.rounds))
	for tick := 0.0; tick <= end; tick += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="dim" x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n",
			x(tick), x(tick), chartTop, base, x(tick), base+18, tick)
	}
	for i, bar := range bars {
		y := chartTop + i*chartRow
		class := "peer"
		if bar.ours {
			class = "ours"
		}
		number := fmt.Sprintf("%.1f", bar.median)
		if bar.median > end {
			number = fmt.Sprintf("%.0f →", bar.median)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLabels-10, y+18, html.EscapeString(bar.name))
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, chartLabels, y+5, x(bar.median)-chartLabels, chartRow-10)
		fmt.Fprintf(&b, `<line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(bar.min), x(bar.max), y+chartRow/2, y+chartRow/2)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", x(max(bar.median, bar.max))+8, y+18, number)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// chartScale returns where the axis ends, and how far apart its ticks are. What is
// more than five times the middle one of all does not fit: its bar is cut off.
func chartScale(medians []float64) (end, step float64) {
	longest := 1.0
	if len(medians) > 0 {
		most := 5 * spreadOf(medians).median
		for _, m := range medians {
			if m <= most {
				longest = max(longest, m)
			}
		}
	}
	step = 1
	for times := 0; longest/step > 6; times++ {
		step *= []float64{2, 2.5, 2}[times%3] // 1, 2, 5, 10
	}
	return math.Ceil(1.1*longest/step) * step, step
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

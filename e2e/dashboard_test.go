package e2e

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"math"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var dashboardTraffic = flag.Duration("dashboard", 0, "makes traffic for so long, a minute or more, and writes "+dashboardPicture)

const dashboardPicture = "docs/pictures/dashboard.svg"

// dashboard is what we draw of a dashboard of Grafana.
type dashboard struct {
	Title  string
	Panels []panel
}

type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H float64 }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ Expr, LegendFormat string }
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(repoFile(t, "monitoring/grafana.json")), &d); err != nil || len(d.Panels) < 10 {
		t.Fatalf("%d panels, %v", len(d.Panels), err)
	}
	return d
}

// curve is what Prometheus has answered: values at the same distances in time, NaN
// where there is none.
type curve struct {
	name   string
	values []float64
}

func (c curve) moves() bool {
	return slices.ContainsFunc(c.values, func(v float64) bool { return v > 0 })
}

// last returns the last value, or NaN.
func (c curve) last() float64 {
	for _, v := range slices.Backward(c.values) {
		if !math.IsNaN(v) {
			return v
		}
	}
	return math.NaN()
}

// dashboardPoints is how many values a curve has.
const dashboardPoints = 60

// curves asks Prometheus the queries of a panel, and each has to have an answer.
func (p panel) curves(t *testing.T, begin, end time.Time, ask func(path string, answer any) error) (curves []curve) {
	t.Helper()
	variables := strings.NewReplacer("$instance", ".*", "$__rate_interval", "10s")
	step := end.Sub(begin).Seconds() / (dashboardPoints - 1)
	for _, target := range p.Targets {
		var answer struct {
			Status, Error string
			Data          struct {
				Result []struct {
					Metric map[string]string
					Values [][2]any // a time in seconds, and a number as text
				}
			}
		}
		err := ask("/api/v1/query_range?"+url.Values{
			"query": {variables.Replace(target.Expr)}, "step": {fmt.Sprint(step)},
			"start": {fmt.Sprintf("%.3f", seconds(begin))}, "end": {fmt.Sprintf("%.3f", seconds(end))},
		}.Encode(), &answer)
		if err != nil || answer.Status != "success" || len(answer.Data.Result) == 0 {
			t.Errorf("panel %s: %s: %v %s %s, %d results", p.Title, target.Expr, err, answer.Status, answer.Error, len(answer.Data.Result))
		}
		for _, series := range answer.Data.Result {
			c := curve{values: slices.Repeat([]float64{math.NaN()}, dashboardPoints)}
			c.name = regexp.MustCompile(`{{(\w+)}}`).ReplaceAllStringFunc(target.LegendFormat, func(label string) string {
				return series.Metric[strings.Trim(label, "{}")]
			})
			for _, v := range series.Values {
				at := int(math.Round((v[0].(float64) - seconds(begin)) / step))
				if c.values[min(at, dashboardPoints-1)], err = strconv.ParseFloat(v[1].(string), 64); err != nil {
					t.Fatal(err)
				}
			}
			curves = append(curves, c)
		}
	}
	return curves
}

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// The picture's measures, in pixels. Grafana's grid has 24 columns.
const (
	dashboardWidth  = 820
	dashboardHead   = 66
	dashboardColumn = (dashboardWidth - 16) / 24.0
	dashboardRow    = 24
	panelLeft       = 62 // what the axis takes
	panelTop        = 40
	legendRow       = 15
)

// draw makes a picture of the dashboard, with what Prometheus has of a time.
func (d dashboard) draw(t *testing.T, begin, end time.Time, ask func(path string, answer any) error) string {
	t.Helper()
	height := 0.0
	for _, p := range d.Panels {
		height = max(height, dashboardHead+(p.GridPos.Y+p.GridPos.H)*dashboardRow+8)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %g" width="%[1]d" height="%[2]g" role="img">
<title>The dashboard %[3]s: %[4]d panels, from requests to the near-cache</title>
<style>
	text { font: 12px system-ui, sans-serif; fill: #1c2430; }
	.title { font-size: 15px; font-weight: 600; }
	.head { font-weight: 600; }
	.stat { font-size: 40px; font-weight: 600; }
	.dim { fill: #5b6675; }
	.ground { fill: #f3f6fb; }
	.card { fill: #ffffff; stroke: #d9dee6; }
	.grid { stroke: #e3e7ed; }
	.curve { fill: none; stroke-width: 1.5; }
	.c0 { stroke: #2563c9; }
	.c1 { stroke: #c2571a; }
	.c2 { stroke: #2b8a57; }
	.c3 { stroke: #a8327d; }
	.c4 { stroke: #7a6200; }
	.c5 { stroke: #6b4fc4; }
	.c6 { stroke: #0f7f8c; }
	.c7 { stroke: #c22f3d; }
	.again { stroke-dasharray: 4 3; }
	@media (prefers-color-scheme: dark) {
		text { fill: #e4e9f0; }
		.dim { fill: #9aa5b5; }
		.ground { fill: #0d1117; }
		.card { fill: #161b22; stroke: #333e4e; }
		.grid { stroke: #2a3340; }
		.c0 { stroke: #5b95f0; }
		.c1 { stroke: #f0935b; }
		.c2 { stroke: #5bc08a; }
		.c3 { stroke: #e57cc0; }
		.c4 { stroke: #d9bd4a; }
		.c5 { stroke: #a993f5; }
		.c6 { stroke: #4fc3d0; }
		.c7 { stroke: #f2737f; }
	}
</style>
<rect class="ground" width="%[1]d" height="%[2]g"/>
<text class="title" x="12" y="26">%[3]s</text>
<text class="dim" x="12" y="48">Drawn from what Prometheus answers the dashboard’s queries, not by Grafana: %[5]v of a test, in which the store fails.</text>
`, dashboardWidth, height, html.EscapeString(d.Title), len(d.Panels), end.Sub(begin).Round(time.Second))
	for _, p := range d.Panels {
		p.draw(t, &b, end.Sub(begin), p.curves(t, begin, end, ask))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws a panel: one number with its course, or curves with axes and a legend.
func (p panel) draw(t *testing.T, b *strings.Builder, duration time.Duration, curves []curve) {
	t.Helper()
	width, height := p.GridPos.W*dashboardColumn-8, p.GridPos.H*dashboardRow-8
	fit := int(width / 8) // letters
	fmt.Fprintf(b, `<g transform="translate(%.1f %g)"><title>%s</title><rect class="card" width="%.1f" height="%g" rx="4"/>`+"\n",
		12+p.GridPos.X*dashboardColumn, dashboardHead+p.GridPos.Y*dashboardRow, html.EscapeString(p.Title), width, height)
	defer b.WriteString("</g>\n")
	for title, y := p.Title, 22; title != ""; y += 16 {
		line := title
		if len(title) > fit {
			line = title[:strings.LastIndex(title[:fit], " ")]
		}
		fmt.Fprintf(b, `<text class="head" x="10" y="%d">%s</text>`+"\n", y, html.EscapeString(line))
		title = strings.TrimSpace(title[len(line):])
	}
	top := 0.0
	for _, c := range curves {
		for _, v := range c.values {
			if !math.IsNaN(v) {
				top = max(top, v)
			}
		}
	}
	step := tickStep(top, p.FieldConfig.Defaults.Unit)
	top = max(math.Ceil(top/step), 1) * step

	if p.Type == "stat" {
		for _, c := range curves {
			fmt.Fprintf(b, `<text class="stat" x="%.1f" y="%g" text-anchor="middle">%s</text>`+"\n", width/2, height/2+12, inUnit(t, c.last(), p.FieldConfig.Defaults.Unit))
			c.draw(b, 0, 8, width-8, height/2+26, height-12, top)
		}
		return
	}

	// The legend, from below: curves that stay at 0 are only counted.
	all := len(curves)
	curves = slices.DeleteFunc(curves, func(c curve) bool { return !c.moves() })
	names := []string{}
	for _, c := range curves {
		names = append(names, c.name)
	}
	if still := all - len(curves); still > 0 {
		names = append(names, fmt.Sprintf("%d more: nothing", still))
	}
	type place struct{ x, row int }
	places, x, row := []place{}, 10, 0
	for _, name := range names {
		size := 32 + 6*len(name)
		if x > 10 && x+size > int(width) {
			x, row = 10, row+1
		}
		places, x = append(places, place{x, row}), x+size
	}
	legend := height - 10 - float64(row)*legendRow
	base := legend - 34
	for i, at := range places {
		y := legend + float64(at.row)*legendRow
		if i < len(curves) {
			fmt.Fprintf(b, `<path class="%s" d="M%d %gh14"/>`, colors(i), at.x, y-4)
			at.x += 19
		}
		fmt.Fprintf(b, `<text class="dim" x="%d" y="%g">%s</text>`+"\n", at.x, y, html.EscapeString(names[i]))
	}

	right := width - 12
	for v := 0.0; v <= top+step/2; v += step {
		y := base - v/top*(base-panelTop)
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%.1f"/><text class="dim" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			panelLeft, y, right, panelLeft-6, y+4, inUnit(t, v, p.FieldConfig.Defaults.Unit))
	}
	for i := range 4 {
		at, anchor := int(duration.Seconds())*i/3, "middle"
		if i == 3 {
			anchor = "end"
		}
		fmt.Fprintf(b, `<text class="dim" x="%.1f" y="%.1f" text-anchor="%s">%d:%02d</text>`,
			panelLeft+(right-panelLeft)*float64(i)/3, base+16, anchor, at/60, at%60)
	}
	b.WriteString("\n")
	for i, c := range curves {
		c.draw(b, i, panelLeft, right, panelTop, base, top)
	}
}

// draw draws a curve from 0 to top into a rectangle.
func (c curve) draw(b *strings.Builder, color int, left, right, above, base, top float64) {
	fmt.Fprintf(b, `<path class="%s" d="`, colors(color))
	pen := "M"
	for i, v := range c.values {
		if math.IsNaN(v) {
			pen = "M"
			continue
		}
		fmt.Fprintf(b, "%s%.0f %.1f", pen, left+(right-left)*float64(i)/(dashboardPoints-1), base-v/top*(base-above))
		pen = "L"
	}
	b.WriteString("\"/>\n")
}

func colors(i int) string {
	if i >= 8 {
		return fmt.Sprintf("curve again c%d", i%8)
	}
	return fmt.Sprintf("curve c%d", i)
}

// tickStep returns a round distance for five ticks or less up to a number.
func tickStep(top float64, unit string) float64 {
	if top == 0 {
		return 1
	}
	base, factors := math.Pow(10, math.Floor(math.Log10(top/4))), []float64{1, 2, 5, 10}
	if unit == "bytes" {
		base, factors = math.Exp2(math.Floor(math.Log2(top/4))), []float64{1, 2}
	}
	for _, factor := range factors {
		if top/4 <= base*factor {
			return base * factor
		}
	}
	return base * factors[len(factors)-1]
}

// inUnit writes a number as Grafana does in a unit.
func inUnit(t *testing.T, v float64, unit string) string {
	t.Helper()
	scaled := func(factor float64, name string) string { return fmt.Sprintf("%.3g %s", v*factor, name) }
	switch {
	case unit == "short":
		return fmt.Sprintf("%.3g", v)
	case unit == "reqps":
		return scaled(1, "req/s")
	case unit == "ops":
		return scaled(1, "ops/s")
	case unit == "s" && v < 1e-3:
		return scaled(1e6, "µs")
	case unit == "s" && v < 1:
		return scaled(1e3, "ms")
	case unit == "s":
		return scaled(1, "s")
	case unit == "bytes" && v < 1<<10:
		return scaled(1, "B")
	case unit == "bytes":
		return scaled(1./(1<<10), "KiB")
	}
	t.Fatalf("what is the unit %q", unit)
	return ""
}

// visits has visitors come in waves, sign in and out, and do what should not be. In
// the middle the store fails for a tenth of the time.
func visits(t *testing.T, o *operated, duration time.Duration) {
	t.Helper()
	var cookies []string
	begin := time.Now()
	for n := 0; time.Since(begin) < duration; n++ {
		gone := time.Since(begin).Seconds() / duration.Seconds()
		down.Store(gone > .5 && gone < .6)
		cookie := ""
		if len(cookies) > 0 {
			cookie = cookies[n*7%len(cookies)]
		}
		switch {
		case n%15 == 0:
			if new := o.get("/?set=user%3Dalice", "").cookie(); new != "" {
				cookies = append(cookies, new)
			}
		case cookie == "":
			o.get("/", "")
		case n%50 == 1 && len(cookies) > 10:
			o.get("/?control=destroy", cookies[0])
			cookies = cookies[1:]
		case n%100 == 2:
			if new := o.get("/?control=renew", cookie).cookie(); new != "" {
				cookies[n*7%len(cookies)] = new
			}
		case n%100 == 3:
			o.get("/?set=nonsense", cookie)
		case n%100 == 4:
			o.get("/", cookie[:len(cookie)-2]+"AA")
		case n%100 == 5: // it goes away after some seconds
			c := o.dial()
			fmt.Fprintf(c, "GET /stream HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", o.addr, cookie)
			time.AfterFunc(duration/8, func() { c.Close() })
			t.Cleanup(func() { c.Close() })
		case n%5 == 0:
			o.get(fmt.Sprintf("/?set=cart%%3D%s", strings.Repeat("x", n%400)), cookie)
		case n%5 == 1:
			o.get("/", "")
		default:
			o.get("/", cookie)
		}
		time.Sleep(time.Duration(25+15*math.Sin(12*gone)) * time.Millisecond)
	}
}

// The manual's picture has the panels that the dashboard has.
func TestDashboardPicture(t *testing.T) {
	heads := regexp.MustCompile(`<g [^>]*><title>([^<]*)</title>`).FindAllStringSubmatch(repoFile(t, dashboardPicture), -1)
	var drawn, want []string
	for _, head := range heads {
		drawn = append(drawn, html.UnescapeString(head[1]))
	}
	for _, p := range readDashboard(t).Panels {
		want = append(want, p.Title)
	}
	if !slices.Equal(drawn, want) {
		t.Errorf("the picture has %q, the dashboard %q: go test ./e2e -run TestPrometheus -args -dashboard 90s", drawn, want)
	}
}

// The manual's pictures are small, have a name for those who hear them, colours for
// light and dark, and nothing from elsewhere.
func TestPictures(t *testing.T) {
	files, err := filepath.Glob("../docs/pictures/*.svg")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d pictures, %v", len(files), err)
	}
	for _, file := range files {
		text := repoFile(t, strings.TrimPrefix(filepath.ToSlash(file), "../"))
		if len(text) > 60_000 {
			t.Errorf("%s has %d bytes", file, len(text))
		}
		for what, pattern := range map[string]string{
			"name":             `aria-label="[^"]+"|<title>[^<]+</title>`,
			"colours for dark": `@media \(prefers-color-scheme: dark\)`,
			"width":            `<svg [^>]* width="\d+" height="\d+"`,
		} {
			if !regexp.MustCompile(pattern).MatchString(text) {
				t.Errorf("%s has no %s", file, what)
			}
		}
		if elsewhere := regexp.MustCompile(`<script|<image|@import|url\([^#]|href="[^#]`).FindString(text); elsewhere != "" {
			t.Errorf("%s has %s", file, elsewhere)
		}
		decoder := xml.NewDecoder(strings.NewReader(text))
		for err = nil; err == nil; {
			_, err = decoder.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

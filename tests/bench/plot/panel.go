package main

import (
	"fmt"
	"math"
	"strings"
)

// Sizes in pixels.
const (
	panelWidth, panelHeight = 460, 320
	left, right             = 60, 20
	top, bottom             = 36, 64
)

// colours are those of the lines, in their order.
var colours = []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b"}

// panel is one diagram. Both axes are logarithmic: clients and figures go over three
// powers of ten.
type panel struct {
	title string
	lines []line
}

// scale maps the logarithms of values from low to high to pixels.
type scale struct{ low, high, from, to float64 }

func (s scale) at(v float64) float64 {
	return s.from + (math.Log10(max(v, 1e-3))-s.low)/(s.high-s.low)*(s.to-s.from)
}

// draw writes the diagram at an offset from the left.
func (p panel) draw(b *strings.Builder, offset float64) {
	clients := limits(p.lines, func(q point) float64 { return q.clients })
	values := limits(p.lines, func(q point) float64 { return q.value })
	x := scale{clients.low, clients.high, offset + left, offset + panelWidth - right}
	y := scale{math.Floor(values.low), math.Ceil(values.high), panelHeight - bottom, top}
	if y.low == y.high {
		y.high++
	}
	fmt.Fprintf(b, `<text x="%.0f" y="20" font-weight="bold">%s</text>`+"\n", x.from, p.title)
	for power := y.low; power <= y.high; power++ {
		v := math.Pow(10, power)
		fmt.Fprintf(b, `<line x1="%.0f" y1="%.1f" x2="%.0f" y2="%.1f" stroke="#ddd"/><text x="%.0f" y="%.1f" text-anchor="end">%g</text>`+"\n",
			x.from, y.at(v), x.to, y.at(v), x.from-6, y.at(v)+4, v)
	}
	drawn := map[float64]bool{}
	for i, l := range p.lines {
		colour := colours[i%len(colours)]
		var path []string
		for _, q := range l.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(q.clients), y.at(q.value)))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s, %g clients: %.4g</title></circle>`+"\n",
				x.at(q.clients), y.at(q.value), colour, l.side, q.clients, q.value)
			if !drawn[q.clients] {
				drawn[q.clients] = true
				fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", x.at(q.clients), panelHeight-bottom+18, q.clients)
			}
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
		fmt.Fprintf(b, `<text x="%.0f" y="%d" fill="%s">%s</text>`+"\n", x.from+float64(i)*110, panelHeight-14, colour, l.side)
	}
	fmt.Fprintf(b, `<text x="%.0f" y="%d" text-anchor="middle">clients</text>`+"\n", (x.from+x.to)/2, panelHeight-bottom+34)
}

// limits returns the logarithms of the least and the greatest figure above 0 of all
// points.
func limits(lines []line, of func(point) float64) (s scale) {
	s.low, s.high = math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, q := range l.points {
			v := math.Log10(max(of(q), 1e-3))
			s.low, s.high = min(s.low, v), max(s.high, v)
		}
	}
	if s.low == s.high {
		s.low, s.high = s.low-0.5, s.high+0.5
	}
	return s
}

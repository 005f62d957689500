// Command dashboard writes the Grafana dashboard of raftkv to standard output:
//
//	go run ./deploy/dashboard >deploy/grafana/raftkv.json
//
// With -queries it writes the panels' queries instead, a line each, for a test
// to run them. The panels are in panels.go.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
)

func main() {
	queries := flag.Bool("queries", false, "write the queries, a line each: title, tab, query")
	flag.Parse()
	if *queries {
		for _, r := range rows {
			for _, p := range r.panels {
				for _, e := range p.exprs {
					fmt.Printf("%s\t%s\n", p.title, e.query)
				}
			}
		}
		return
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(dashboard(rows)); err != nil {
		log.Fatal(err)
	}
}

// object is a JSON object as Grafana reads it.
type object map[string]any

// The grid of a dashboard is 24 columns wide.
const (
	gridWidth   = 24
	panelWidth  = 8
	panelHeight = 7
)

// dashboard lays the panels out, three abreast under the title of their row.
func dashboard(rows []row) object {
	var laid []object
	id, top := 0, 0
	next := func() int { id++; return id }
	for n, r := range rows {
		kind := "timeseries"
		if n == 0 {
			kind = "stat"
		}
		laid = append(laid, object{
			"id": next(), "type": "row", "title": r.title, "collapsed": false, "panels": []object{},
			"gridPos": object{"x": 0, "y": top, "w": gridWidth, "h": 1},
		})
		top++
		for i, p := range r.panels {
			x := i * panelWidth % gridWidth
			laid = append(laid, draw(kind, next(), p, object{"x": x, "y": top, "w": panelWidth, "h": panelHeight}))
			if x+panelWidth == gridWidth || i == len(r.panels)-1 {
				top += panelHeight
			}
		}
	}
	return object{
		"title": "raftkv", "uid": "raftkv", "schemaVersion": 39, "version": 1, "editable": true,
		"refresh": "10s", "time": object{"from": "now-1h", "to": "now"}, "timezone": "browser", "tags": []string{"raftkv"},
		"templating": object{"list": []object{{
			"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": object{},
		}}},
		"annotations": object{"list": []object{{
			"name": "Leader changes", "enable": true, "iconColor": "orange", "datasource": source,
			"expr": `sum by (reason) (increase(raftkv_raft_leader_changes_total[1m])) > 0`, "titleFormat": "leader change: {{reason}}",
		}}},
		"panels": laid,
	}
}

// source is the data source that the reader of the dashboard chooses.
var source = object{"type": "prometheus", "uid": "${datasource}"}

// draw returns a panel: a number ("stat") or a graph ("timeseries").
func draw(kind string, id int, p panel, place object) object {
	var targets []object
	for i, e := range p.exprs {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "expr": e.query, "legendFormat": e.legend, "datasource": source, "range": true,
		})
	}
	options := object{"legend": object{"displayMode": "list", "placement": "bottom"}, "tooltip": object{"mode": "multi"}}
	if kind == "stat" {
		options = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "graphMode": "area", "textMode": "value_and_name"}
	}
	return object{
		"id": id, "type": kind, "title": p.title, "description": descriptions[p.title], "datasource": source, "gridPos": place, "targets": targets,
		"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}, "overrides": []object{}},
		"options":     options,
	}
}

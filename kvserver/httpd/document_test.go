package httpd

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/failure"
)

// openAPI is what the test reads of an OpenAPI document.
type openAPI struct {
	OpenAPI    string
	Paths      map[string]map[string]json.RawMessage
	Components map[string]map[string]json.RawMessage
}

type operation struct {
	Parameters  []json.RawMessage
	Responses   map[string]json.RawMessage
	RequestBody json.RawMessage
}

type parameter struct{ Name, In string }

// resolve decodes something that may be a reference into the components.
func (o *openAPI) resolve(t *testing.T, raw json.RawMessage, to any) {
	t.Helper()
	var ref struct {
		Ref string `json:"$ref"`
	}
	if err := json.Unmarshal(raw, &ref); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	if ref.Ref != "" {
		parts := strings.Split(ref.Ref, "/")
		if len(parts) != 4 || o.Components[parts[2]][parts[3]] == nil {
			t.Fatalf("%s leads nowhere", ref.Ref)
		}
		raw = o.Components[parts[2]][parts[3]]
	}
	if err := json.Unmarshal(raw, to); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
}

// Goal: the OpenAPI document and the router say the same: routes, methods,
// parameters and statuses. A route without an entry fails, and an entry without
// a route.
// Method: both are read and compared.
func TestTheOpenAPIDocumentIsTheRouters(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var o openAPI
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(o.OpenAPI, "3.1.") {
		t.Errorf("the version is %q", o.OpenAPI)
	}
	described := map[string]bool{}
	for path, operations := range o.Paths {
		for method := range operations {
			if method != "parameters" {
				described[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	for _, r := range Routes() {
		name := r.Method + " " + r.Path
		if !described[name] {
			t.Errorf("%s is not in the document", name)
			continue
		}
		delete(described, name)
		var op operation
		o.resolve(t, o.Paths[r.Path][strings.ToLower(r.Method)], &op)
		var shared []json.RawMessage
		if raw := o.Paths[r.Path]["parameters"]; raw != nil {
			if err := json.Unmarshal(raw, &shared); err != nil {
				t.Fatal(err)
			}
		}
		var have []string
		for _, raw := range append(shared, op.Parameters...) {
			var p parameter
			o.resolve(t, raw, &p)
			have = append(have, p.In+" "+p.Name)
		}
		var want []string
		for _, q := range r.Query {
			want = append(want, "query "+q)
		}
		for _, h := range r.Headers {
			if h != "Accept" && h != "Content-Type" { // OpenAPI has other places for them
				want = append(want, "header "+h)
			}
		}
		if strings.Contains(r.Path, "{key}") {
			want = append(want, "path key")
		}
		if strings.Contains(r.Path, "{name}") {
			want = append(want, "path name")
		}
		if strings.Contains(r.Path, "{id}") {
			want = append(want, "path id")
		}
		wantSame(t, name+": parameters", have, want)
		want = nil
		for _, status := range append(AnyStatus(), r.Statuses...) {
			want = append(want, fmt.Sprint(status))
		}
		wantSame(t, name+": statuses", slices.Collect(maps.Keys(op.Responses)), want)
		for status, raw := range op.Responses {
			var response struct{ Description string }
			if o.resolve(t, raw, &response); response.Description == "" {
				t.Errorf("%s: status %s is not described", name, status)
			}
		}
		if takes := r.Method == "PUT" || r.Method == "POST"; takes != (op.RequestBody != nil) {
			t.Errorf("%s: whether there is a body is not said rightly", name)
		}
	}
	for name := range described {
		t.Errorf("%s is in the document and not a route", name)
	}
	for _, ref := range strings.Split(string(text), `"$ref": "`)[1:] {
		ref, _, _ = strings.Cut(ref, `"`)
		var any json.RawMessage
		o.resolve(t, json.RawMessage(`{"$ref":"`+ref+`"}`), &any)
	}
	var problem struct {
		Properties struct{ Code struct{ Enum []string } }
	}
	o.resolve(t, o.Components["schemas"]["Problem"], &problem)
	var codes []string
	for _, k := range failure.Kinds() {
		codes = append(codes, string(k.Code))
	}
	wantSame(t, "codes", problem.Properties.Code.Enum, codes)
}

// wantSame compares two sets.
func wantSame(t *testing.T, what string, have, want []string) {
	t.Helper()
	for _, list := range []*[]string{&have, &want} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if !slices.Equal(have, want) {
		t.Errorf("%s are %q in the document, and should be %q", what, have, want)
	}
}

// Goal: the table of errors in docs/http.md is the table of errors.
// Method: every row of the code must have a row on the page with its status,
// code and outcome, and every row of the page one in the code.
func TestThePageListsEveryError(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| status | code | outcome | when |\n|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var listed, want []string
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		listed = append(listed, strings.TrimSpace(cells[1])+" "+strings.Trim(cells[2], " `")+" "+strings.TrimSpace(cells[3]))
	}
	for _, k := range failure.Kinds() {
		if k.Err == failure.ReadTimeout || k.Err == failure.InternalRead {
			continue // what differs for reads stands in the row of writes
		}
		want = append(want, fmt.Sprintf("%d %s %s", k.Status, k.Code, k.Outcome))
	}
	wantSame(t, "errors", listed, want)
}

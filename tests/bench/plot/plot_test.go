package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

const runs = `{"round":1,"row":"put1","side":"raftkv","clients":1,"ops_per_second":400,"p99_us":12000}
{"round":1,"row":"put256","side":"raftkv","clients":256,"ops_per_second":20000,"p99_us":40000}
{"round":2,"row":"put256","side":"raftkv","clients":256,"ops_per_second":24000,"p99_us":30000}
{"round":1,"row":"put1","side":"etcd","clients":1,"ops_per_second":200,"p99_us":17000}
{"round":1,"row":"hput64","side":"etcd","clients":64,"ops_per_second":1,"p99_us":0}
`

// Goal: the picture is one, and holds the medians of the row that was asked for and of
// no other. Method: runs of two sides, parsed as XML.
func TestThePicture(t *testing.T) {
	var b strings.Builder
	if err := draw(strings.NewReader(runs), &b, "put"); err != nil {
		t.Fatal(err)
	}
	for decoder := xml.NewDecoder(strings.NewReader(b.String())); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"raftkv, 256 clients: 2.2e+04", "raftkv, 256 clients: 35", "etcd, 1 clients: 200", ">256<"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
	if strings.Contains(b.String(), "64 clients") || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Errorf("the picture has what it should not have:\n%s", b.String())
	}
	if got := strings.Count(b.String(), "<polyline"); got != 4 {
		t.Errorf("%d lines", got)
	}
}

// Goal: a file without such runs, or of something else, is told. Method: both.
func TestNothingToDraw(t *testing.T) {
	if err := draw(strings.NewReader(runs), io.Discard, "swim"); err == nil {
		t.Error("a row that nobody measured is drawn")
	}
	if err := draw(strings.NewReader("swim\n"), io.Discard, "put"); err == nil {
		t.Error("a line that is no run is drawn")
	}
}

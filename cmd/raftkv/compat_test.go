package main

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
	"raftkv/tests/compat/golden"
)

// Goal: the exports that an earlier release
// wrote are read by this one, and mean the same. Method: see golden.Check.
func TestWhatEarlierReleasesWroteIsRead(t *testing.T) {
	golden.Check(t, []golden.Format{
		{Release: "v0.1.0", Name: "export", Write: writeReleasedExport, Read: readReleasedExport},
	})
}

// releasedItems are the keys of the export: text and bytes, as key and as value.
var releasedItems = []api.Value{
	{KeyName: api.NameKey("a/<b> \u00e9"), Value: []byte("text\n\"quoted\""), Revision: 300, Version: 2},
	{KeyName: api.NameKey("empty"), Value: []byte{}, Revision: 7, Version: 1},
	{KeyName: api.NameKey("k\xff"), Value: []byte{0, 0xfe}, Revision: 1 << 40, Version: 1},
}

func writeReleasedExport(t *testing.T) golden.Files {
	var b bytes.Buffer
	for _, v := range releasedItems {
		if err := terminal.PrintJSON(&b, exportedOf(v)); err != nil {
			t.Fatal(err)
		}
	}
	return golden.Files{"export.ndjson": b.Bytes()}
}

func readReleasedExport(t *testing.T, f golden.Files) {
	var got, want []string
	for _, v := range releasedItems {
		want = append(want, fmt.Sprintf("%q = %q", v.Name(), v.Value))
	}
	err := eachLine(bytes.NewReader(f["export.ndjson"]), func(_ int, key string, value []byte) error {
		got = append(got, fmt.Sprintf("%q = %q", key, value))
		return nil
	})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("it is read as %q, %v", got, err)
	}
}

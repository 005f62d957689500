package kvserver

import (
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
)

// Goal: settings that cannot be are refused with a sentence.
// Method: one bad setting at a time.
func TestImpossibleSettingsAreRefused(t *testing.T) {
	log := fakelog.New("n1")
	good := Config{NodeID: "n1", Consensus: log, ApplyCh: log.ApplyCh, ClientAddr: func(string) string { return "" }}
	for name, spoil := range map[string]func(*Config){
		"no consensus":           func(c *Config) { c.Consensus = nil },
		"no name":                func(c *Config) { c.NodeID = "" },
		"values over the limit":  func(c *Config) { c.MaxValueBytes = api.MaxValueBytes + 1 },
		"negative values":        func(c *Config) { c.MaxValueBytes = -1 },
		"room for less than one": func(c *Config) { c.MaxValueBytes, c.MaxInFlightBytes = 100, 99 },
		"negative time":          func(c *Config) { c.RequestTimeout = -1 },
	} {
		config := good
		spoil(&config)
		if s, err := New(config); err == nil {
			s.Close()
			t.Errorf("%s was accepted", name)
		}
	}
	s, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

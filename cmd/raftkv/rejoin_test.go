package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/datadir"
)

// Goal: the length of --cluster says nothing about a cluster that has grown since: --rejoin is
// not refused by it, and a node that once began alone may join in its own place with its list
// left as it was; any other list of itself alone beside --join is refused. Method: the settings
// of nodes whose lists are old.
func TestAnOldListDoesNotKeepANodeFromComingBack(t *testing.T) {
	const alone = "n1=127.0.0.1:1"
	for name, c := range map[string]struct {
		cluster, join, replaces, refused string
		rejoin                           bool
		listed                           int
	}{
		"rejoin, alone":             {cluster: alone, rejoin: true, listed: 1},
		"rejoin, two":               {cluster: alone + ",n2=127.0.0.1:2", rejoin: true, listed: 2},
		"join in its own place":     {cluster: alone, join: "127.0.0.1:3", replaces: "n1"},
		"join in another one's":     {cluster: alone, join: "127.0.0.1:3", replaces: "n2", refused: "or --replace n1, too"},
		"join, and begin alone":     {cluster: alone, join: "127.0.0.1:3", refused: "give one of them"},
		"join, with a list of more": {cluster: alone + ",n2=127.0.0.1:2", join: "127.0.0.1:3", listed: 2},
	} {
		s := serveSettings{}
		s.table()
		s.id, s.dataDir, s.cluster, s.rejoin, s.join, s.replaces = "n1", t.TempDir(), c.cluster, c.rejoin, c.join, c.replaces
		if c.replaces == "n1" { // its list says where it is, also for clients
			s.http = "0.0.0.0:8701"
		}
		got, _, err := s.nodeConfig(t.Output())
		if c.replaces == "n1" && (err != nil || got.AdvertiseHTTP != "127.0.0.1:8701") {
			t.Errorf("%s: clients find it at %q, %v", name, got.AdvertiseHTTP, err)
		}
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(got.Members) != c.listed || s.peer != "127.0.0.1:1" || c.join != "" && got.Join.Replaces != core.ID(c.replaces) {
			t.Errorf("%s: %v; the list is %v, and it joins as %+v", name, err, got.Members, got.Join)
		}
	}
}

// Goal: a node that joins, and listens at every address of its machine, says at which the others
// find it; what it says can be an address. Method: the settings of nodes that join, and of one in
// --cluster, whose entry says it.
func TestANodeThatJoinsSaysWhereItIs(t *testing.T) {
	for name, c := range map[string]struct{ cluster, peer, http, advertisePeer, advertiseHTTP, refused, holds string }{
		"it was a member before":     {peer: "10.0.0.4:9701", http: "0.0.0.0:8701", holds: datadir.OwnerFile},
		"both listen everywhere":     {peer: "0.0.0.0:9701", http: "0.0.0.0:8701", refused: "give --advertise-peer host:port"},
		"the peer port is said":      {peer: "0.0.0.0:9701", http: "[::]:8701", advertisePeer: "n4:9701", refused: "--http is [::]:8701, which stands for every address"},
		"both are said":              {peer: "0.0.0.0:9701", http: "[::]:8701", advertisePeer: "n4:9701", advertiseHTTP: "n4:8701"},
		"they listen at one":         {peer: "127.0.0.1:9701", http: ":8701"},
		"what is said is a wildcard": {peer: "127.0.0.1:9701", advertisePeer: "0.0.0.0:9701", refused: "other nodes could not find it"},
		"what is said has no port":   {peer: "127.0.0.1:9701", advertiseHTTP: "n4", refused: "--advertise-http is \"n4\""},
		"the list says it":           {cluster: "n4=10.0.0.4:9701,n5=10.0.0.5:9701", peer: "0.0.0.0:9701", http: "0.0.0.0:8701"},
	} {
		s := serveSettings{}
		s.table()
		s.id, s.dataDir, s.cluster, s.join, s.peer, s.advertisePeer, s.advertiseHTTP = "n4", t.TempDir(), c.cluster, "127.0.0.1:3", c.peer, c.advertisePeer, c.advertiseHTTP
		if c.http != "" {
			s.http = c.http
		}
		if c.holds != "" {
			Must(t, os.WriteFile(filepath.Join(s.dataDir, c.holds), []byte("format = 1\ncluster-id = \"raftkv\"\nid = \"n4\"\nmembers = []\n"), 0o600))
		}
		_, _, err := s.nodeConfig(t.Output())
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

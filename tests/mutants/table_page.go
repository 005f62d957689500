package main

// inPage is a mutant of the page at /ui/ or of what serves it, which the tests of the door
// should notice: they read the files as they are served.
func inPage(id, tests, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "kvserver/httpd/" + file, old: old, new: new, oracles: []string{"test ./kvserver/httpd " + tests}}
}

// inWords is a mutant of what the page says, which its own tests compare with the code.
func inWords(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "kvserver/httpd/page/files/" + file, old: old, new: new, oracles: []string{"test ./kvserver/httpd/page"}}
}

// The page at /ui/ (kvserver/httpd/page), and what it gathers.
var pageMutants = []mutant{
	inPage("UI1", "ThePage", "texts are parsed as HTML", "page/files/dom.js",
		"  element.append(...children.flat(Infinity).filter((c) => c != null && c !== false));\n", "  element.innerHTML += children.flat(Infinity).filter((c) => c != null && c !== false).join(\"\");\n"),
	inPage("UI2", "ThePage", "the policy lets scripts stand in the page", "page/page.go",
		"script-src 'self'", "script-src 'self' 'unsafe-inline'"),
	inPage("UI3", "ThePage", "a picture comes from elsewhere", "page/files/index.html",
		"<img src=\"icon.svg\"", "<img src=\"https://example.org/icon.svg\""),
	inPage("UI4", "ThePage", "the token is kept in the browser", "page/files/ask.js",
		"  token = text;\n", "  token = text;\n  sessionStorage.token = text;\n"),
	inWords("UI5", "an incident of explain has no words", "words.js",
		" disorder: \"Disorder\",", ""),
	inWords("UI6", "an incident is called something else than explain calls it", "words.js",
		"starved: \"Starved\"", "starved: \"Busy\""),
	inWords("UI7", "Learn names a function that the page of the paper does not", "learn.js",
		"election.go: startCampaign", "election.go: beginCampaign"),
	inPage("UI8", "ThePage", "a browser is told that an old file is still right", "insight.go",
		"if strings.Contains(tags, form.Tag) ||", "if strings.Contains(tags, `\"`) ||"),
	inPage("UI9", "ThePage", "a cache may give a packed file to one that cannot unpack it", "insight.go",
		"\th.Set(\"Vary\", \"Accept-Encoding\")\n", ""),
	inPage("UI10", "ThePage", "what is gathered is asked for without the viewer's token", "peers.go",
		"\tif !token.IsZero() {", "\tif token.IsZero() {"),
	inPage("UI11", "AllMembers", "nodes without a vote are left out", "insight.go",
		"\t\t\tif m.ID != d.nodeID {", "\t\t\tif m.ID != d.nodeID && m.Role == \"voter\" {"),
	inPage("UI12", "ThePage", "browsers may write where the page is to show alone", "guard.go",
		"writes && r.Header[\"Origin\"] != nil && g.door.config.Page != page.On", "writes && r.Header[\"Origin\"] != nil && g.door.config.Page == page.Off"),
	inPage("UI13", "ThePage", "the page is served where there is to be none", "insight.go",
		"\tcase d.config.Page == page.Off:\n", "\tcase d.config.Page == page.Off && !known:\n"),
	inFile("UI18", "any number of viewers may look", "kvserver/httpd/live/feed.go",
		"\tif f.viewers >= MaxViewers {", "\tif f.viewers >= 100*MaxViewers {", "test ./kvserver/httpd/live"),
	inFile("UI19", "each viewer gathers for itself", "kvserver/httpd/live/feed.go",
		"\tif t.taken || age < max(min(Beat, rest), t.pause) || age < rest && mark == t.mark {", "\tif t.taken || age < 0 {", "test ./kvserver/httpd/live"),
	inFile("UI20", "what is gone stays on the page", "kvserver/httpd/live/patch.go",
		"\t\t\tpatch[name] = nil\n", "\t\t\tdelete(patch, name)\n", "test ./kvserver/httpd/live"),
	inFile("UI21", "a viewer that was away misses one event", "kvserver/httpd/live/feed.go",
		"f.frames[seen+1-oldest:]", "f.frames[min(seen+2-oldest, uint64(len(f.frames))):]", "test ./kvserver/httpd/live"),
	inPage("UI22", "ARevokedTokenEndsTheStream", "a token that is revoked goes on to see what happens", "stream.go",
		"\t\tend := may.Still()\n", "\t\tend := may.Still()\n\t\tend = nil\n"),
	inPage("UI23", "Viewers", "without news the others are asked as often as a viewer looks", "stream.go",
		"live.Rest) {", "0) {"),
	inPage("UI15", "TestTheWayOfARequest", "requests whose outcome is unknown are not kept", "insight.go",
		" || x.status >= http.StatusInternalServerError\n", "\n"),
}

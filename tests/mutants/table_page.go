package main

// inPage is a mutant of the page at /ui/, whose files the tests of the door read as they
// are served, and whose words those of its package compare with the code.
func inPage(id, tests, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "kvserver/httpd/" + file, old: old, new: new,
		oracles: []string{"test ./kvserver/httpd/page " + tests, "test ./kvserver/httpd " + tests}}
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
	inPage("UI5", "ThePage", "an incident of explain has no words", "page/files/words.js",
		" disorder: \"Disorder\",", ""),
	inPage("UI6", "ThePage", "an incident is called something else than explain calls it", "page/files/words.js",
		"starved: \"Starved\"", "starved: \"Busy\""),
	inPage("UI7", "Learn", "Learn names a function that the page of the paper does not", "page/files/learn.js",
		"election.go: startCampaign", "election.go: beginCampaign"),
	inPage("UI8", "ThePage", "a browser is told that an old file is still right", "insight.go",
		"if strings.Contains(tags, form.Tag) ||", "if strings.Contains(tags, `\"`) ||"),
	inPage("UI9", "ThePage", "a cache may give a packed file to one that cannot unpack it", "insight.go",
		"\th.Set(\"Vary\", \"Accept-Encoding\")\n", ""),
	inPage("UI10", "ThePage", "what is gathered is asked for without the viewer's token", "insight.go",
		"\tif !token.IsZero() {", "\tif token.IsZero() {"),
	inPage("UI11", "AllMembers", "nodes without a vote are left out", "insight.go",
		"\t\t\tif m.ID != d.nodeID {", "\t\t\tif m.ID != d.nodeID && m.Role == \"voter\" {"),
}

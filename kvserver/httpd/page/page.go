// Package page holds the page that every node serves at /ui/: a few files that are
// embedded into the program. They need no other host, no build step and nothing that is
// evaluated, so the strictest policy for content fits them.
//
// The mental model is a window in the wall of each node: one sees the whole cluster
// through any of them, and can touch nothing.
package page

import (
	"embed"
	"path"
)

//go:embed files
var files embed.FS

// Names are the files of the page, the first of which is the page itself.
var Names = []string{"index.html", "app.css", "app.js", "dom.js", "cluster.js", "timeline.js", "icon.svg"}

// mediaTypes are the media types of the files by the ends of their names.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// File returns a file of the page and its media type; nil if there is none of that name.
// The content must not be changed.
func File(name string) (content []byte, mediaType string) {
	content, err := files.ReadFile("files/" + name)
	if err != nil {
		return nil, ""
	}
	return content, mediaTypes[path.Ext(name)]
}

// Policy is the Content-Security-Policy of the page: everything from the node itself,
// and nothing else.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

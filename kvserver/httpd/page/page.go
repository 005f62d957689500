// Package page holds the page that every node serves at /ui/: a few files that are
// embedded into the program. They need no other host, no build step and nothing that is
// evaluated, so the strictest policy for content fits them.
//
// The mental model is a window in the wall of each node: one sees the whole cluster
// through any of them. The glass is here; everything that is seen through it comes by the
// same routes that programs use, with the viewer's own token.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"path"
	"sync"
)

//go:embed files
var files embed.FS

// Mode says what the page of a node may do.
type Mode string

// The modes, of which the zero value is as ReadOnly.
const (
	Off      Mode = "off"      // there is no page
	ReadOnly Mode = "readonly" // it shows, and browsers may write nothing
	On       Mode = "on"       // it may write as its viewer may
)

// Modes are all of them.
var Modes = []Mode{Off, ReadOnly, On}

// Start is the file that is the page itself; it names the others.
const Start = "index.html"

// Names are the files of the page.
var Names = []string{
	Start, "app.css", "app.js", "ask.js", "dom.js", "words.js", "cluster.js", "timeline.js", "load.js",
	"data.js", "edit.js", "keys.js", "stories.js", "learn.js", "icon.svg",
}

// mediaTypes are the media types of the files by the ends of their names.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// File is one file of the page, as it is served. It must not be changed.
type File struct {
	MediaType string
	// Plain and Packed are the content as it is and by gzip.
	Plain, Packed Form
}

// Form is a content with its entity tag, in quotes. The tag is made of the content, so
// nodes of one version have the same, and a browser asks again after an upgrade.
type Form struct {
	Content []byte
	Tag     string
}

// all are the files by their names. They are packed when the first of them is asked for:
// most runs of the program serve no page.
var all = sync.OnceValue(func() map[string]File {
	found := map[string]File{}
	for _, name := range Names {
		content, err := files.ReadFile("files/" + name)
		if err != nil {
			panic("page: " + err.Error()) // the list above names a file that was not embedded
		}
		digest := sha256.Sum256(content)
		plain, packed := fmt.Sprintf(`"%x"`, digest[:8]), fmt.Sprintf(`"%x-gzip"`, digest[:8])
		found[name] = File{mediaTypes[path.Ext(name)], Form{content, plain}, Form{pack(content), packed}}
	}
	return found
})

func pack(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // that level there is
	_, _ = w.Write(content)                               // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// Open returns a file of the page; known is false if there is none of that name. It is
// safe for concurrent use.
func Open(name string) (file File, known bool) {
	file, known = all()[name]
	return file, known
}

// Policy is the Content-Security-Policy of the page: everything from the node itself,
// and nothing else.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

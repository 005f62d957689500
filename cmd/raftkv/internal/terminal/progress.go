package terminal

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress shows how far a piece of work has come, once it has taken a second
// and if somebody sits before it. The zero value shows nothing. It belongs to
// one goroutine.
type Progress struct {
	bar   *progressbar.ProgressBar
	begun time.Time
	shown bool
}

// progressPatience is how long work may take before it shows itself.
const progressPatience = time.Second

// StartProgress begins to show work of total steps on w, which is usually
// standard error; below 0, that is not known.
func StartProgress(w io.Writer, what string, total int64) *Progress {
	if !Is(w) {
		return &Progress{}
	}
	return &Progress{begun: time.Now(), bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(total > 0),
	)}
}

// Set tells how many steps are done.
func (p *Progress) Set(done int64) {
	if p.bar == nil || time.Since(p.begun) < progressPatience {
		return
	}
	p.shown = true
	_ = p.bar.Set64(done) // a terminal that has gone away is no reason to stop
}

// Describe changes what stands before the bar.
func (p *Progress) Describe(what string) {
	if p.bar != nil {
		p.bar.Describe(what)
	}
}

// Finish takes the bar away.
func (p *Progress) Finish() {
	if p.shown {
		_ = p.bar.Finish()
	}
}

// WatchedReader shows how far it was read.
type WatchedReader struct {
	From io.Reader
	Bar  *Progress
	Done int64
}

func (r *WatchedReader) Read(p []byte) (int, error) {
	n, err := r.From.Read(p)
	r.Done += int64(n)
	r.Bar.Set(r.Done)
	return n, err
}

// WatchedWriter shows how far it was written.
type WatchedWriter struct {
	To   io.Writer
	Bar  *Progress
	done int64
}

func (w *WatchedWriter) Write(p []byte) (int, error) {
	n, err := w.To.Write(p)
	w.done += int64(n)
	w.Bar.Set(w.done)
	return n, err
}

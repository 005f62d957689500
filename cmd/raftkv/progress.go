package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a piece of work has come, once it has taken a second
// and if somebody sits before it. The zero value shows nothing. It belongs to
// one goroutine.
type progress struct {
	bar   *progressbar.ProgressBar
	begun time.Time
	shown bool
}

// progressPatience is how long work may take before it shows itself.
const progressPatience = time.Second

// startProgress begins to show work of total steps on w, which is usually
// standard error; below 0, that is not known.
func startProgress(w io.Writer, what string, total int64) *progress {
	if !isTerminal(w) {
		return &progress{}
	}
	return &progress{begun: time.Now(), bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(total > 0),
	)}
}

// set tells how many steps are done.
func (p *progress) set(done int64) {
	if p.bar == nil || time.Since(p.begun) < progressPatience {
		return
	}
	p.shown = true
	_ = p.bar.Set64(done) // a terminal that has gone away is no reason to stop
}

// describe changes what stands before the bar.
func (p *progress) describe(what string) {
	if p.bar != nil {
		p.bar.Describe(what)
	}
}

// finish takes the bar away.
func (p *progress) finish() {
	if p.shown {
		_ = p.bar.Finish()
	}
}

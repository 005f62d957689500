package httpd

import (
	"net/http"
	"strings"
)

// serveLive says whether the process is worth keeping.
func (d *Door) serveLive(x *exchange) error {
	if err := d.server.Live(); err != nil {
		return err
	}
	return x.answerText("ok\n")
}

// serveReady says whether a linearizable read would succeed here now.
func (d *Door) serveReady(x *exchange) error {
	verbose, err := x.flag("verbose")
	if err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	lines, err := d.server.Ready(ctx)
	if !verbose {
		lines = nil
	}
	if err != nil {
		x.answerError(err, lines)
		return nil
	}
	lines = append(lines, "ok")
	return x.answerText(strings.Join(lines, "\n") + "\n")
}

func (x *exchange) answerText(text string) error {
	x.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	x.answer(http.StatusOK, []byte(text))
	return nil
}

// serveStatus tells what this node knows, without asking anybody.
func (d *Door) serveStatus(x *exchange) error {
	return x.answerJSON(http.StatusOK, d.status())
}

package secure

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// lookPause is the time between two looks at the files.
	lookPause = 10 * time.Second
	// expiryNotice is how long before its expiry a certificate is warned about, once a day.
	expiryNotice = 21 * 24 * time.Hour
)

// Watch looks at the files until ctx ends: every ten seconds, and at once when asked
// yields. On nil it returns at once.
func (k *Keys) Watch(ctx context.Context, asked <-chan struct{}) {
	if k == nil {
		return
	}
	look, day := time.NewTicker(lookPause), time.NewTicker(24*time.Hour)
	defer look.Stop()
	defer day.Stop()
	k.warnOfExpiry()
	for {
		select {
		case <-look.C:
		case <-asked:
		case <-day.C:
			k.warnOfExpiry()
		case <-ctx.Done():
			return
		}
		_ = k.Reload() // it has said what is wrong
	}
}

// Reload looks at the files now. A group whose files have changed is taken whole, or stays
// as it was; connections that the new one refuses end before Reload returns. The error
// says what is wrong with the files that are there. On nil it does nothing.
func (k *Keys) Reload() error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var wrong []error
	for _, g := range k.groups {
		if err := k.reload(g); err != nil {
			wrong = append(wrong, fmt.Errorf("the %s port's certificates stay as they were: %w", g.name, err))
		}
	}
	return errors.Join(wrong...)
}

// Noted makes note be called for each set of files that is taken or refused from now on. It
// must not call the Keys.
func (k *Keys) Noted(note func(port string, refused error)) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.noted = note
}

func (k *Keys) reload(g *group) error {
	apply, is, err := g.load(time.Now())
	g.wrong.Store(err != nil)
	switch {
	case err != nil && is == g.failed && g.said == err.Error():
		return err // it was said and counted
	case err != nil:
		g.failed, g.said = is, err.Error()
		k.failed.Add(1)
		k.logger.Error("new certificates are refused, and those in use stay", "port", g.name, "cause", err)
		k.tell(g, err)
		return err
	}
	g.failed, g.said = digest{}, ""
	if is == g.is {
		return nil
	}
	g.is = is
	ended := apply()
	k.reloaded.Add(1)
	k.logger.Info("new certificates are in use", "port", g.name, "connections ended", ended)
	k.tell(g, nil)
	return nil
}

func (k *Keys) tell(g *group, refused error) {
	if k.noted != nil {
		k.noted(g.name, refused)
	}
}

// warnOfExpiry says which certificates expire soon.
func (k *Keys) warnOfExpiry() {
	k.Expiries(func(use string, at time.Time) {
		if left := time.Until(at); left < expiryNotice {
			k.logger.Warn("a certificate expires soon; put a new one in its place, which needs no restart", "use", use, "expires", at.UTC().Format(time.RFC3339), "in", left.Round(time.Minute).String())
		}
	})
}

package credential

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"raftkv/kvserver/access"
)

// ServeSettings are the settings of a node that are about callers.
type ServeSettings struct {
	AuthFile, StaleLimit                            string
	AuditFile, AuditKeys, AuditReads, AuditRequired string
}

// Defaults are the settings of a node that is told nothing.
var Defaults = ServeSettings{StaleLimit: "10s", AuditKeys: string(access.FullKeys), AuditRequired: "false"}

// Opened is what a node's settings have opened.
type Opened struct {
	Access     access.Config
	StaleLimit time.Duration // below 0: without a limit
	// Reopen opens the file of the audit anew; nil: there is none.
	Reopen func() error
	// Close closes it, behind the node's end.
	Close func()
}

// Open checks the settings and opens the files that they name.
func (s *ServeSettings) Open(logger *slog.Logger) (o Opened, err error) {
	o.Close = func() {}
	if o.StaleLimit, err = s.check(); err != nil {
		return o, err
	}
	if s.AuthFile != "" {
		if o.Access.BreakGlass, err = ReadAuthFile(s.AuthFile); err != nil {
			return o, err
		}
	}
	if s.AuditFile == "" {
		return o, nil
	}
	file, err := OpenAuditFile(s.AuditFile)
	if err != nil {
		return o, fmt.Errorf("--audit-file: %w", err)
	}
	audit := access.NewAudit(access.AuditConfig{
		To: file, Keys: access.AuditKeys(s.AuditKeys), ReadsToo: s.AuditReads != "", Reads: strings.TrimSuffix(s.AuditReads, "*"),
		Required: s.AuditRequired == "true", Logger: logger,
	})
	o.Access.Audit, o.Reopen = audit, file.Reopen
	o.Close = func() {
		audit.Close()
		if err := file.Close(); err != nil {
			logger.Error("closing the file of the audit", "error", err)
		}
	}
	return o, nil
}

// check refuses what cannot be, and returns the limit of stale reads.
func (s *ServeSettings) check() (stale time.Duration, err error) {
	stale = -1
	if s.StaleLimit != "off" {
		if stale, err = time.ParseDuration(s.StaleLimit); err != nil || stale <= 0 {
			return 0, fmt.Errorf("--stale-limit is %.20q; choose a time such as 10s, or off", s.StaleLimit)
		}
	}
	if !slices.Contains([]access.AuditKeys{access.FullKeys, access.HashKeys, access.NoKeys}, access.AuditKeys(s.AuditKeys)) {
		return 0, fmt.Errorf("--audit-keys is %.20q; choose full, hash or none", s.AuditKeys)
	}
	if !slices.Contains([]string{"true", "false"}, s.AuditRequired) {
		return 0, fmt.Errorf("--audit-required is %.20q; choose true or false", s.AuditRequired)
	}
	if s.AuditFile == "" && (s.AuditRequired == "true" || s.AuditReads != "") {
		return 0, errors.New("--audit-required and --audit-reads need --audit-file")
	}
	return stale, nil
}

package credential

import (
	"os"
	"sync"
)

// AuditFile is the file of a node's audit, which only its owner reads. It is opened anew
// by Reopen, after another program has moved it away. It is safe for concurrent use.
type AuditFile struct {
	path string
	mu   sync.Mutex
	file *os.File
}

// OpenAuditFile opens the file, and makes it if there is none. It names keys, so one that
// others can use is closed to them, as an earlier version, another program that moves files
// away, or an orchestrator may have left it; where that cannot be done it is refused. What is
// no file, as a pipe to another program, is that program's.
func OpenAuditFile(path string) (*AuditFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		if err = checkPrivate(path, info); err != nil && f.Chmod(info.Mode().Perm()&0o700) == nil {
			err = nil
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &AuditFile{path: path, file: f}, nil
}

// Write implements io.Writer.
func (a *AuditFile) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Write(b)
}

// Reopen opens the file by its name again. The old one stays in use if that fails.
func (a *AuditFile) Reopen() error {
	next, err := OpenAuditFile(a.path)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err = a.file.Close()
	a.file = next.file
	return err
}

// Close closes the file.
func (a *AuditFile) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}

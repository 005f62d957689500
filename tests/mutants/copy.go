package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// leftBehind are directories at the root that no test needs.
var leftBehind = []string{".git", ".mutants", "bin", "raftkv-data"}

// copyTree copies the source at from to a new directory in the system's place for
// such.
func copyTree(from string) (root string, err error) {
	if _, err := os.Stat(filepath.Join(from, "go.mod")); err != nil {
		return "", fmt.Errorf("%s is not the root of the source: run this there", from)
	}
	root, err = os.MkdirTemp("", "mutants-")
	if err != nil {
		return "", err
	}
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(leftBehind, name):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(root, name), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(root, name), content, info.Mode().Perm())
	})
	if err == nil {
		err = os.Mkdir(filepath.Join(root, ".mutants"), 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("copying the source: %w", err)
	}
	return root, nil
}

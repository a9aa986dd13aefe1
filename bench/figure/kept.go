package figure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Read gives the reports that a file of kept results holds, one a program.
func Read(path string) ([]Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the kept results: %w (make them with: %s)", err, Commands)
	}
	var reports []Report
	if err := json.Unmarshal(text, &reports); err != nil {
		return nil, fmt.Errorf("read the kept results %s: %w", path, err)
	}
	return reports, nil
}

// keep puts a report into a file of kept results, in place of the one that the
// program left there before.
func keep(path string, r Report) error {
	reports, err := Read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	reports = slices.DeleteFunc(reports, func(old Report) bool { return old.Program == r.Program })
	reports = append(reports, r)
	slices.SortFunc(reports, func(a, b Report) int { return strings.Compare(b.Program, a.Program) })
	var text bytes.Buffer
	if err := writeJSON(&text, reports); err != nil {
		return fmt.Errorf("keep the results: %w", err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("keep the results: %w", err)
	}
	return nil
}

package endtoend_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"slipstream/emulator"
	"slipstream/emulator/client"
)

// identities are the environments that the delivered lines name, and how many
// platform.report records there are.
func identities(t *testing.T, dir string) (environments map[string]bool, reports int) {
	t.Helper()
	environments = map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(decode(t, path, body)) {
			var record struct{ Type, Environment string }
			if err := json.Unmarshal(line, &record); err != nil {
				return err
			}
			if record.Type == "function" {
				environments[record.Environment] = true
			}
			if record.Type == "platform.report" {
				reports++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return environments, reports
}

// The newer kinds of environment: every line arrives once, every invocation has
// its report, and restored environments have identities of their own.
func TestNewerModes(t *testing.T) {
	for kind, environments := range map[string]int{
		"lambda-managed-instances": 1, "snap-start": 2, "provisioned-concurrency": 2,
	} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			s := play{
				env:    map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + dir},
				config: bind(dir),
				function: func(f *emulator.Function) {
					f.InitType, f.Concurrency, f.Warm = kind, 2, 1
					if kind == "lambda-managed-instances" {
						f.LogFormat = "JSON"
					}
				},
			}.start(t)
			const rounds = 6
			for round := range rounds { // two at once, so that there are two environments, or one busy one
				var pair sync.WaitGroup
				for i := range 2 {
					pair.Go(func() {
						event := fmt.Appendf(nil, `{"id":%d,"lines":30,"bytes":50,"sleep_ms":40}`, 2*round+i)
						result, err := client.Invoke(t.Context(), s.Lambda, "shop", event)
						if err != nil || result.FunctionError != "" {
							t.Errorf("%v %s", err, result.Payload)
						}
					})
				}
				pair.Wait()
			}
			s.shutdown(t)
			inFolder(t, dir).expect(t, 2*rounds, 30)
			names, reports := identities(t, dir)
			if reports != 2*rounds || len(names) != environments {
				t.Errorf("%d reports of %d invocations, %d identities, want %d", reports, 2*rounds, len(names), environments)
			}
		})
	}
}

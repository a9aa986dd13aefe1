package endtoend_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"slipstream/emulator"
	"slipstream/test/servers"
)

// A settings file names three destinations. One has its token in Secrets
// Manager and gets every line; one refers to a member that is not there, gets
// nothing and is accounted for; the folder does not notice. With a typing error
// in the file, and with SnapStart, it is the same. No value is in the log.
func TestSecretsAndSettingsFile(t *testing.T) {
	secrets := servers.StartSecrets(t)
	secrets.CreateSecret(t, "prod/logs", `{"token":"the-token-in-clear","other":"hidden-too"}`)
	secrets.PutParameter(t, "/logs/path", "in/the-path-in-clear\n")
	for _, initType := range []string{"on-demand", "snap-start"} {
		t.Run(initType, func(t *testing.T) {
			var mu sync.Mutex
			bodies := map[string][]byte{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				token := r.Header.Get("Authorization")
				if err != nil || r.URL.Path != "/in/the-path-in-clear" || token != "Bearer the-token-in-clear" {
					http.Error(w, "who are you?", http.StatusForbidden)
					return
				}
				bodies[r.Header.Get("Idempotency-Key")] = body
			}))
			defer server.Close()
			dir := t.TempDir()
			file := filepath.Join(dir, "slipstream.yaml")
			if err := os.WriteFile(file, fmt.Appendf(nil, `# all settings are here
destinations:
  - file://%s/out
  - %s/${ssm:/logs/path}?token=${secretsmanager:prod/logs#token}
  - %s/never?token=${secretsmanager:prod/logs#tokem}
max_staleness: 1s
max_stalenes: 2s
`, dir, server.URL, server.URL), 0o600); err != nil {
				t.Fatal(err)
			}
			env := map[string]string{"SLIPSTREAM_CONFIG_FILE": file}
			for _, pair := range secrets.Env() {
				name, value, _ := strings.Cut(pair, "=")
				env[name] = value
			}
			s := play{env: env, config: bind(dir), function: func(f *emulator.Function) { f.InitType = initType }}.start(t)
			n := 10
			s.run(t, 0, n, 20, 100)
			for ; n < 500 && !strings.Contains(s.log.others(), "tokem"); n++ { // one failure is nothing to tell
				s.run(t, n, n+1, 20, 100)
			}
			s.shutdown(t)
			inFolder(t, filepath.Join(dir, "out")).expect(t, n, 20)
			got := lines{}
			for _, body := range bodies {
				got.addObject(t, "body.gz", body)
			}
			got.expect(t, n, 20)
			log := s.log.others()
			for _, want := range []string{
				file + ":7, max_stalenes: there is no such setting; is max_staleness meant?",
				"the secret has no member \\\"tokem\\\"; it has: other, token",
				"undelivered_at_shutdown:",
			} {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %s", want)
				}
			}
			if strings.Contains(log, "in-clear") || strings.Contains(log, "hidden-too") {
				t.Error("a secret is in the log")
			}
		})
	}
}

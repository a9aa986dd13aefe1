package metrics

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/test/servers"
)

// StatsD is Etsy's server, the first of them. It never flushes: what it has is
// asked of its admin port.
type StatsD struct {
	Address string // 127.0.0.1:port, UDP
	admin   string
}

// StartStatsD runs a server until the test ends. The first use on a machine
// installs it with npm, some seconds.
func StartStatsD(t testing.TB) *StatsD {
	t.Helper()
	program := statsdServer(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("metrics: statsd needs Node (make packages): %v", err)
	}
	s := &StatsD{Address: servers.Tool{}.Address(t), admin: servers.Tool{}.Address(t)}
	config, err := json.Marshal(map[string]any{
		"address": "127.0.0.1", "port": portOf(s.Address), "mgmt_address": "127.0.0.1", "mgmt_port": portOf(s.admin),
		"flushInterval": 3_600_000, "backends": []string{},
	})
	if err != nil {
		t.Fatalf("metrics: %v", err)
	}
	file := filepath.Join(t.TempDir(), "config.js") // JSON is JavaScript
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatalf("metrics: %v", err)
	}
	output := servers.Tool{}.Run(t, node, "", program, file)
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if _, err := s.ask("health"); err == nil {
			return s
		} else if time.Now().After(deadline) {
			t.Fatalf("metrics: statsd does not answer: %v\n%s", err, output())
		}
	}
}

// State is what the server has counted: counters, gauges or timers, by name.
func (s *StatsD) State(t testing.TB, kind string) map[string]any {
	t.Helper()
	text, err := s.ask(kind)
	if err != nil {
		t.Fatalf("metrics: ask statsd for %s: %v", kind, err)
	}
	// It prints JavaScript's objects: names in single quotes, or in none.
	text = bareName.ReplaceAllString(strings.ReplaceAll(text, "'", `"`), `$1"$2":`)
	state := map[string]any{}
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		t.Fatalf("metrics: statsd says %s: %v", text, err)
	}
	return state
}

var bareName = regexp.MustCompile(`([{,]\s*)([A-Za-z_]\w*):`)

// ask sends one command and gives what comes before END.
func (s *StatsD) ask(command string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.admin, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(command + "\n")); err != nil {
		return "", err
	}
	var text strings.Builder
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "END" || strings.HasPrefix(lines.Text(), "health:") {
			return text.String(), nil
		}
		text.WriteString(lines.Text() + "\n")
	}
	return "", errors.New("the answer has no end")
}

func portOf(address string) json.Number {
	return json.Number(address[strings.LastIndexByte(address, ':')+1:])
}

// statsdServer installs the server below .cache and gives its program's path.
func statsdServer(t testing.TB) string {
	t.Helper()
	root := servers.Tool{}.Root(t)
	source, folder := filepath.Join(root, "tools", "statsd"), filepath.Join(root, ".cache", "statsd")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatalf("metrics: %v", err)
	}
	lock, err := os.OpenFile(filepath.Join(root, ".cache", ".statsd.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatalf("metrics: %v", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("metrics: lock %s: %v", lock.Name(), err)
	}
	program := filepath.Join(folder, "node_modules", "statsd", "stats.js")
	want, err := os.ReadFile(filepath.Join(source, "package-lock.json"))
	if err != nil {
		t.Fatalf("metrics: %v", err)
	}
	installed := filepath.Join(folder, "installed.json") // written last: what is there is whole
	if have, err := os.ReadFile(installed); err == nil && string(have) == string(want) {
		return program
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), text, 0o644)
		}
		if err != nil {
			t.Fatalf("metrics: %v", err)
		}
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("metrics: install statsd, which needs npm (make packages): %v\n%s", err, out)
	}
	if err := os.WriteFile(installed, want, 0o644); err != nil {
		t.Fatalf("metrics: %v", err)
	}
	return program
}

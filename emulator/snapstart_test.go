package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"

	"slipstream/emulator/invokeapi"
)

// fromSnapshot gives the function SnapStart; init is what it does before and
// after the snapshot.
func fromSnapshot(init string) setting {
	return func(c *Config) {
		f := &c.Functions[0]
		f.InitType, c.Freeze = snapStart, true
		if f.Env["INIT"] = init; init == "lambdago" {
			f.Command = []string{program("lambdago")}
		}
	}
}

// TestSnapStart: Init runs before Start returns, with the extensions. What it
// reports arrives after the restore, with its own times and instance; the restore
// is reported and told in the REPORT line, once.
func TestSnapStart(t *testing.T) {
	for name, c := range map[string]struct {
		init  string
		lines []string // of the function in the first invocation
	}{
		"with hooks": {"sleep=100ms,restore", []string{"function function: before the snapshot",
			`function function: restored 200 ""`}},
		"without":     {"", nil},
		"on AWS's Go": {"lambdago", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, fromSnapshot(c.init), extension("ext", subscribed))
			published := time.Now()
			if got := s.log.lines("INIT_REPORT Init Duration: "); len(got) != 1 ||
				!strings.HasSuffix(got[0], " ms\tPhase: init\t") {
				t.Errorf("INIT_REPORT: %q", got)
			}
			if got, _ := s.recorder.Deliveries("ext"); len(got) != 0 {
				t.Errorf("telemetry was delivered before the restore: %s", got[0].Body)
			}
			s.invoke(`{"id":1}`)
			s.settle()
			s.invoke(`{"id":2}`)
			s.settle()
			s.stop()
			checkRestoreStory(t, s, published, c.lines)
			if got := s.log.lines("[ext] "); len(got) != 5 || !strings.HasPrefix(got[2], "INVOKE ") ||
				!strings.HasPrefix(got[4], "SHUTDOWN ") { // no event tells of the restore
				t.Errorf("the extension's life: %q", got)
			}
			checkRestoreReports(t, s)
		})
	}
}

func checkRestoreStory(t *testing.T, s *stage, published time.Time, lines []string) {
	t.Helper()
	events := s.received("ext")
	first := slices.IndexFunc(events, func(e telemetryEvent) bool { return e.Type == "platform.report" })
	platform := slices.DeleteFunc(slices.Clone(events[:first+1]), func(e telemetryEvent) bool {
		return e.Type == "function"
	})
	if diff := cmp.Diff([]string{
		"platform.initStart init",
		"platform.telemetrySubscription ext Subscribed",
		"platform.initRuntimeDone init success",
		"platform.extension ext Ready",
		"platform.initReport init success",
		"platform.restoreStart",
		"platform.restoreRuntimeDone success",
		"platform.restoreReport success",
		"platform.start",
		"platform.runtimeDone success",
		"platform.report success",
	}, story(platform)); diff != "" {
		t.Errorf("%s\nlog:\n%s", diff, s.log)
	}
	var got []string
	for _, line := range story(only(events, "function")) {
		if strings.Contains(line, "snapshot") || strings.Contains(line, "restored") {
			got = append(got, strings.ReplaceAll(line, `\"`, `"`))
		}
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("function lines: %s", diff)
	}
	environment := s.recorder.Reports()[0].Environment
	for _, e := range platform {
		record := e.record()
		switch e.Type {
		case "platform.initStart", "platform.initReport":
			if e.Time.After(published) || record["initializationType"] != "snap-start" || record["instanceId"] == environment {
				t.Errorf("%s at %v, published %v: %s", e.Type, e.Time, published, e.Record)
			}
		case "platform.restoreStart":
			if e.Time.Before(published.Truncate(time.Millisecond)) || record["instanceId"] != environment ||
				record["functionName"] != "shop" || record["functionVersion"] != "$LATEST" {
				t.Errorf("restoreStart at %v, published %v: %s", e.Time, published, e.Record)
			}
		case "platform.restoreReport":
			if metrics, _ := record["metrics"].(map[string]any); metrics["durationMs"].(float64) <= 0 {
				t.Errorf("restoreReport: %s", e.Record)
			}
		}
	}
	for i, e := range only(events, "platform.report") {
		metrics, _ := e.record()["metrics"].(map[string]any)
		if _, restored := metrics["restoreDurationMs"]; restored != (i == 0) || metrics["initDurationMs"] != nil {
			t.Errorf("report %d: %s", i, e.Record)
		}
	}
}

func checkRestoreReports(t *testing.T, s *stage) {
	t.Helper()
	if got := s.log.lines("RESTORE_REPORT Restore Duration: "); len(got) != 1 || !strings.HasSuffix(got[0], " ms\t") {
		t.Errorf("RESTORE_REPORT: %q", got)
	}
	for i, r := range s.recorder.Reports() {
		line := s.log.lines("REPORT ")[i]
		want := fmt.Sprintf("\tRestore Duration: %.2f ms\tBilled Restore Duration: %d ms\t", milliseconds(r.Restore),
			r.BilledRestoreMs)
		if strings.Contains(line, want) != (i == 0) || strings.Contains(line, "Init Duration") {
			t.Errorf("report %d: %s", i, line)
		}
		if r.ColdStart != (i == 0) || (r.Restore > 0) != (i == 0) || r.Init != 0 ||
			r.BilledMs != r.BilledRestoreMs+int64(math.Ceil(float64(r.Duration)/float64(time.Millisecond))) {
			t.Errorf("report %d: %+v", i, r)
		}
	}
}

// TestSnapshotIsHeld: from the end of Init to the restore nothing runs, even where
// nothing is frozen between invocations.
func TestSnapshotIsHeld(t *testing.T) {
	counter := filepath.Join(t.TempDir(), "counter")
	s := play(t, fromSnapshot("count="+counter+",restore"), change(func(c *Config, _ *Function) {
		c.Freeze, c.Binds = false, []string{filepath.Dir(counter)}
	}))
	before := fileText(counter)
	time.Sleep(100 * time.Millisecond) // a running process would count to 50
	if after := fileText(counter); after != before {
		t.Errorf("counted from %q to %q while held", before, after)
	}
	s.invoke(`{}`)
	s.eventually("counting after the restore", func() bool { return fileText(counter) != before })
}

// TestSnapshotsOfEachEnvironment: every environment is restored before its first
// invocation, also one that is made later.
func TestSnapshotsOfEachEnvironment(t *testing.T) {
	s := play(t, fromSnapshot("restore"), extension("ext", ""), change(func(_ *Config, f *Function) {
		f.Concurrency, f.Warm = 2, 1
	}))
	answers := []<-chan Result{s.begin(`{"Gate":"GATE/f"}`), s.begin(`{"Gate":"GATE/f"}`)}
	s.reach()
	s.reach()
	s.open <- struct{}{}
	s.open <- struct{}{}
	for _, answer := range answers {
		<-answer
	}
	s.settle()
	for _, r := range s.recorder.Reports() {
		if !r.ColdStart || r.Restore <= 0 || r.Init != 0 {
			t.Errorf("report %+v", r)
		}
	}
	if got := s.printed(2, `function: restored 200 `); len(got) != 2 {
		t.Errorf("restored: %q", got)
	}
}

// TestRestoreFails: the caller gets an error of the service and there is no
// invocation; the extensions learn why.
func TestRestoreFails(t *testing.T) {
	for _, c := range []struct {
		name, init        string
		limit             time.Duration
		exception, status string
		code              int
	}{
		{"hook", "restore=error", 0, "SnapStartException", "failure Function.HookFailed", 400},
		{"init/error", "restore=initerror", 0, "SnapStartException", "failure Function.HookFailed", 400},
		{"crash", "restore=exit", 0, "SnapStartException", "failure Runtime.ExitError", 400},
		{"timeout", "restore=hang", 300 * time.Millisecond, "SnapStartTimeoutException", "timeout", 408},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := play(t, fromSnapshot(c.init), extension("ext", subscribed),
				change(func(cfg *Config, _ *Function) { cfg.restoreLimit = c.limit }))
			_, err := s.Invoke(t.Context(), "shop", []byte(`{}`))
			if e, ok := errors.AsType[*invokeapi.Exception](err); !ok || e.Type != c.exception || e.Status != c.code {
				t.Errorf("got %v", err)
			}
			s.settle()
			if diff := cmp.Diff([]string{"platform.restoreStart", "platform.restoreRuntimeDone " + c.status,
				"platform.restoreReport " + c.status}, story(only(s.received("ext"), "platform.restoreStart",
				"platform.restoreRuntimeDone", "platform.restoreReport", "platform.start"))); diff != "" {
				t.Error(diff)
			}
			reason := map[bool]string{true: "timeout", false: "failure"}[c.limit > 0]
			if got := s.log.lines("[ext] SHUTDOWN "); len(got) != 1 || !strings.HasPrefix(got[0], reason) {
				t.Errorf("SHUTDOWN: %q", got)
			}
			if got := s.log.lines("RESTORE_REPORT "); len(got) != 1 || !strings.Contains(got[0], "\tStatus: ") ||
				len(s.recorder.Reports()) != 0 || len(s.log.lines("START ")) != 0 {
				t.Errorf("log:\n%s", s.log)
			}
		})
	}
}

// TestRestoreFailsForSDK: AWS's client knows the error.
func TestRestoreFailsForSDK(t *testing.T) {
	s := play(t, fromSnapshot("restore=error"))
	_, err := s.sdk().Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("shop"), Payload: []byte(`{}`)})
	if e, ok := errors.AsType[*types.SnapStartException](err); !ok ||
		!strings.Contains(e.ErrorMessage(), "Function.HookFailed") {
		t.Errorf("got %v", err)
	}
}

// TestRestoreLimit is AWS's.
func TestRestoreLimit(t *testing.T) {
	var cfg Config
	cfg.applyDefaults()
	if cfg.restoreLimit != 10*time.Second {
		t.Errorf("got %v", cfg.restoreLimit)
	}
}

// TestSnapshotAgain: after a failure the next invocation has a snapshot made anew.
func TestSnapshotAgain(t *testing.T) {
	s := play(t, fromSnapshot("restore=once"), extension("ext", subscribed))
	if _, err := s.Invoke(t.Context(), "shop", []byte(`{}`)); err == nil {
		t.Error("the first restore did not fail")
	}
	s.settle()
	s.invoke(`{"Exit":1}`) // restored the second time
	s.settle()
	if got := s.invoke(`{}`); got.FunctionError != "" {
		t.Errorf("got %s", got.Payload)
	}
	s.settle()
	if got := len(s.log.lines("RESTORE_REPORT ")); got != 3 {
		t.Errorf("%d restores", got)
	}
	for _, r := range s.recorder.Reports() {
		if !r.ColdStart || r.Restore <= 0 {
			t.Errorf("report %+v", r)
		}
	}
}

// TestEventAfterFailedRestore: an asynchronous event is tried again.
func TestEventAfterFailedRestore(t *testing.T) {
	s := play(t, fromSnapshot("restore=once"), change(func(c *Config, _ *Function) {
		c.EventRetryDelays = []time.Duration{time.Millisecond}
	}))
	if _, err := s.InvokeEvent("shop", []byte(`{"Print":["event"]}`)); err != nil {
		t.Fatal(err)
	}
	s.settle()
	if got := s.printed(1, "event"); len(got) != 1 {
		t.Errorf("the event ran %d times", len(got))
	}
}

// TestPublishFails: Init fails, so there is no version and Start says why.
func TestPublishFails(t *testing.T) {
	log := startFails(t, "publish: Init failed: Runtime.ExitError: Runtime exited with error: exit status 1",
		fromSnapshot("exit=x"))
	if got := log.lines("INIT_REPORT "); len(got) != 1 ||
		!strings.HasSuffix(got[0], "Phase: init\tStatus: error\tError Type: Runtime.ExitError\t") {
		t.Errorf("INIT_REPORT: %q", got)
	}
}

// TestPublishFailsLater: a snapshot that cannot be made anew fails the invocation.
func TestPublishFailsLater(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := play(t, fromSnapshot("unless="+broken), change(func(c *Config, _ *Function) {
		c.Binds = []string{filepath.Dir(broken)}
	}))
	if err := os.WriteFile(broken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.invoke(`{"Exit":1}`)
	s.settle()
	for range 2 {
		if got := s.invoke(`{}`); !strings.Contains(string(got.Payload), "Runtime.ExitError") {
			t.Errorf("got %s", got.Payload)
		}
		s.settle()
	}
	if got := len(s.log.lines("INIT_REPORT ")); got != 3 {
		t.Errorf("%d Inits", got)
	}
}

// TestSnapshotUnused: a snapshot that nobody restores just goes.
func TestSnapshotUnused(t *testing.T) {
	s := play(t, fromSnapshot("restore"), extension("ext", subscribed),
		change(func(c *Config, _ *Function) { c.IdleTimeout = time.Millisecond }))
	time.Sleep(50 * time.Millisecond) // an idle environment would be spun down
	if got := s.recorder.ProcessEnds(); len(got) != 0 {
		t.Errorf("processes ended: %q", ends(got))
	}
	s.stop()
	if got := s.log.lines("[ext] SHUTDOWN "); len(got) != 0 {
		t.Errorf("SHUTDOWN: %q", got)
	}
	for _, e := range s.recorder.ProcessEnds() {
		if e.ExitCode != -1 {
			t.Errorf("process %q ended by itself: %+v", e.Extension, e)
		}
	}
	if n := len(s.recorder.ProcessEnds()); n != 2 {
		t.Errorf("%d processes", n)
	}
}

// TestSnapStartCredentials: there are no static ones, for extensions neither; an
// endpoint gives them to whom has the token.
func TestSnapStartCredentials(t *testing.T) {
	s := play(t, fromSnapshot("restore"), extension("ext", `{"Events":["SHUTDOWN"],"Env":true}`),
		variable("AWS_ACCESS_KEY_ID", "mine"), variable("AWS_SECRET_ACCESS_KEY", "secret"))
	var runtime []string
	if err := json.Unmarshal(s.invoke(`{"Env":true}`).Payload, &runtime); err != nil {
		t.Fatal(err)
	}
	extension := strings.Fields(s.printed(1, "[ext] env ")[0])
	for who, variables := range map[string][]string{"function": runtime, "extension": extension} {
		var url, token string
		for _, v := range variables {
			name, value, _ := strings.Cut(v, "=")
			switch name {
			case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_GROUP_NAME",
				"AWS_LAMBDA_LOG_STREAM_NAME":
				t.Errorf("the %s has %s", who, v)
			case "AWS_CONTAINER_CREDENTIALS_FULL_URI":
				url = value
			case "AWS_CONTAINER_AUTHORIZATION_TOKEN":
				token = value
			}
		}
		if !strings.HasSuffix(url, "/2021-04-23/credentials") || token == "" {
			t.Fatalf("the %s finds no credentials: %q", who, variables)
		}
		checkCredentials(t, url, token)
	}
}

// checkCredentials asks the endpoint as AWS's SDK does, with and without the token.
func checkCredentials(t *testing.T, url, token string) {
	t.Helper()
	ask := func(token string) (aws.Credentials, error) {
		return endpointcreds.New(url, func(o *endpointcreds.Options) { o.AuthorizationToken = token }).Retrieve(t.Context())
	}
	got, err := ask(token)
	if err != nil || got.AccessKeyID != "mine" || got.SecretAccessKey != "secret" || got.SessionToken != "" ||
		!got.CanExpire || !got.Expires.After(time.Now()) {
		t.Errorf("credentials: %+v, %v", got, err)
	}
	const refusal = "cannot get credentials for the provided token"
	if got, err := ask("wrong"); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("with a wrong token: %+v, %v", got, err)
	}
}

// TestProvisionedConcurrency: Init runs before Start returns and is told in an
// INIT_REPORT of its own; the first invocation is no cold start.
func TestProvisionedConcurrency(t *testing.T) {
	s := play(t, extension("ext", subscribed), change(func(c *Config, f *Function) {
		f.InitType, f.Concurrency, c.Freeze = provisioned, 2, true
	}))
	started := time.Now()
	if got := s.log.lines("INIT_REPORT "); len(got) != 2 || !strings.HasSuffix(got[0], " ms\tPhase: init\t") {
		t.Errorf("INIT_REPORT: %q", got)
	}
	s.invoke(`{}`)
	s.settle()
	s.stop()
	if line := s.log.lines("REPORT ")[0]; strings.Contains(line, "Init Duration") {
		t.Errorf("REPORT: %s", line)
	}
	if r := s.recorder.Reports()[0]; r.ColdStart || r.Init != 0 || r.Restore != 0 {
		t.Errorf("report %+v", r)
	}
	for _, e := range only(s.received("ext"), "platform.initStart", "platform.initReport") {
		if e.record()["initializationType"] != "provisioned-concurrency" || e.Time.After(started) {
			t.Errorf("%s at %v: %s", e.Type, e.Time, e.Record)
		}
	}
	if got := s.log.lines("[ext] SHUTDOWN "); len(got) != 2 { // one of them without any invocation
		t.Errorf("SHUTDOWN: %q", got)
	}
}

// TestProvisionedSpillover: an environment beyond the provisioned ones is one on
// demand.
func TestProvisionedSpillover(t *testing.T) {
	s := play(t, change(func(_ *Config, f *Function) { f.InitType, f.Warm, f.Concurrency = provisioned, 1, 2 }))
	answers := []<-chan Result{s.begin(`{"Env":true,"Gate":"GATE/f"}`), s.begin(`{"Env":true,"Gate":"GATE/f"}`)}
	var types []string
	for range answers {
		s.reach()
	}
	for range answers {
		s.open <- struct{}{}
	}
	for _, answer := range answers {
		payload := string((<-answer).Payload)
		for _, kind := range []string{onDemand, provisioned} {
			if strings.Contains(payload, `"AWS_LAMBDA_INITIALIZATION_TYPE=`+kind+`"`) {
				types = append(types, kind)
			}
		}
	}
	slices.Sort(types)
	s.settle()
	cold := 0
	for _, r := range s.recorder.Reports() {
		if r.ColdStart && r.Init > 0 {
			cold++
		}
	}
	if !slices.Equal(types, []string{onDemand, provisioned}) || cold != 1 || len(s.log.lines("INIT_REPORT ")) != 1 {
		t.Errorf("types %q, %d cold starts; log:\n%s", types, cold, s.log)
	}
}

// TestStreaming: the response begins with its first byte, not with its head; an
// error in the middle leaves the invocation a success.
func TestStreaming(t *testing.T) {
	s := play(t, extension("ext", subscribed))
	answer := s.begin(`{"Stream":["one ","two"],"Opened":"GATE/first","Breaks":"Function.Upstream"}`)
	s.reach()
	opened := time.Now()
	s.open <- struct{}{}
	if got := <-answer; string(got.Payload) != "one two" || got.FunctionError != "" {
		t.Errorf("got %s, %s", got.Payload, got.FunctionError)
	}
	s.settle()
	s.stop()
	r := s.recorder.Reports()[0]
	if begun := r.Start.Add(r.ResponseLatency); begun.Before(opened) || r.ProducedBytes != 7 || r.Status != "success" {
		t.Errorf("opened %v, begun %v: %+v", opened, begun, r)
	}
	done := only(s.received("ext"), "platform.runtimeDone")[0].record()
	if metrics, _ := done["metrics"].(map[string]any); metrics["producedBytes"] != 7.0 || done["status"] != "success" ||
		spanNames(done) != "responseLatency responseDuration runtimeOverhead" {
		t.Errorf("runtimeDone: %v", done)
	}
}

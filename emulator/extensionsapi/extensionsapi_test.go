package extensionsapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const unknownID = "7d2f9c1e-7a55-4b0d-8d3c-0f9a6d1f1c11"

// session is the extensions at one end of the API and the lifecycle at the other.
type session struct {
	t      *testing.T
	api    *API
	server *httptest.Server
	ids    map[string]string // identifier by name
	failed []string
	events chan answer
}

type answer struct {
	status int
	body   string
	header http.Header
}

func newSession(t *testing.T, external ...string) *session {
	s := &session{t: t, ids: map[string]string{}, events: make(chan answer, 20)}
	s.api = New(Config{
		FunctionName: "shop", FunctionVersion: "$LATEST", Handler: "index.handler", AccountID: "123456789012",
		Failed: func(name, typ, cause string) { s.failed = append(s.failed, name+" "+typ+" "+cause) },
	}, external)
	s.server = httptest.NewServer(s.api)
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return s
}

func (s *session) try(method, path, body string, headers ...string) (answer, error) {
	r, err := http.NewRequest(method, s.server.URL+"/2020-01-01/extension"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Header}, err
}

func (s *session) call(method, path, body string, headers ...string) answer {
	s.t.Helper()
	got, err := s.try(method, path, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *session) register(name, body string, headers ...string) answer {
	s.t.Helper()
	got := s.call("POST", "/register", body, append(headers, nameHeader, name)...)
	if got.status == http.StatusOK {
		s.ids[name] = got.header.Get(identifierHeader)
	}
	return got
}

// next waits in the background, as an extension does, and returns when the API
// has seen the call.
func (s *session) next(name string) {
	s.t.Helper()
	go func() {
		if got, err := s.try("GET", "/event/next", "", identifierHeader, s.ids[name]); err == nil {
			s.events <- got
		}
	}()
	s.await(name, Ready)
}

func (s *session) await(name string, want State) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s.state(name) == want {
			return
		}
	}
	s.t.Fatalf("%s is %s, not %s, after 10 s", name, s.state(name), want)
}

func (s *session) state(name string) State {
	for _, e := range s.api.Extensions() {
		if e.Name == name {
			return e.State
		}
	}
	return ""
}

func closed(w *Wait) bool {
	select {
	case <-w.Done():
		return true
	default:
		return false
	}
}

// TestRefusals is AWS's table of 403 bodies: what leads there, the call, the answer.
func TestRefusals(t *testing.T) {
	registered := func(s *session) { s.register("ext", `{"events":["INVOKE"]}`) }
	waiting := func(s *session) { registered(s); s.next("ext") }
	internal := func(s *session) { s.register("agent", `{}`) }
	full := func(s *session) {
		for i := range Limit - 1 {
			s.register("agent"+string(rune('a'+i)), `{}`)
		}
	}
	nothing := func(*session) {}
	moved := func(from, to string) string {
		return "State transition from " + from + " to " + to +
			" failed for extension ext. Error: State transition is not allowed"
	}
	for _, c := range []struct {
		name          string
		before        func(*session)
		extension     string
		body          string
		typ, message  string
		registrations bool
	}{
		{"no name", nothing, "", `nonsense`, "Extension.InvalidExtensionName", "Empty extension name", false},
		{"empty body", nothing, "ext", ``, "InvalidRequestFormat", "unexpected end of JSON input", false},
		{"not JSON", nothing, "ext", `{"events"`, "InvalidRequestFormat", "unexpected end of JSON input", false},
		{"configuration keys", nothing, "ext", `{"configurationKeys":["a"]}`, "InvalidRequestFormat",
			"configurationKeys are deprecated; use environment variables instead", false},
		{"unknown event", nothing, "ext", `{"events":["INVOKE","FOO"]}`, "Extension.InvalidEventType",
			"FOO: ErrorInvalidEventType", false},
		{"event in lower case", nothing, "ext", `{"events":["invoke"]}`, "Extension.InvalidEventType",
			"invoke: ErrorInvalidEventType", false},
		{"internal wants SHUTDOWN", nothing, "agent", `{"events":["SHUTDOWN"]}`, "Extension.InvalidEventType",
			"SHUTDOWN: ShutdownEventNotSupportedForInternalExtension", false},
		{"external twice", registered, "ext", `{}`, "Extension.InvalidExtensionState", moved("Registered",
			"Registered"), false},
		{"external again when ready", waiting, "ext", `{}`, "Extension.InvalidExtensionState", moved("Ready",
			"Registered"), false},
		{"internal too late", nothing, "agent", `{}`, "Extension.RegistrationClosed",
			"Extension registration closed already", true},
		{"internal name taken", internal, "agent", `{}`, "Extension.InvalidExtensionState",
			"Extension with this name already registered", false},
		{"eleventh", full, "agentz", `{}`, "Extension.TooManyExtensions", "Extension limit (10) reached", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSession(t, "ext")
			c.before(s)
			if c.registrations {
				s.api.CloseRegistration()
			}
			got := s.register(c.extension, c.body)
			want := `{"errorMessage":"` + c.message + `","errorType":"` + c.typ + `"}`
			if got.status != 403 || got.body != want {
				t.Errorf("got  %d %s\nwant 403 %s", got.status, got.body, want)
			}
		})
	}
}

// TestIdentifierRefusals is the same table for the calls that need an identifier.
func TestIdentifierRefusals(t *testing.T) {
	const errorType = "Lambda-Extension-Function-Error-Type"
	waiting := func(s *session) { s.next("ext") }
	failed := func(s *session) {
		s.call("POST", "/init/error", "", identifierHeader, s.ids["ext"], errorType, "Extension.X")
	}
	nothing := func(*session) {}
	for _, c := range []struct {
		name               string
		before             func(*session)
		method, path, id   string
		errorType          string
		wantType, wantText string
	}{
		{"next without", nothing, "GET", "/event/next", "", "", "Extension.MissingExtensionIdentifier",
			"Missing Lambda-Extension-Identifier header"},
		{"next with no UUID", nothing, "GET", "/event/next", "x", "", "Extension.InvalidExtensionIdentifier",
			"Invalid Lambda-Extension-Identifier"},
		{"next of a stranger", nothing, "GET", "/event/next", unknownID, "", "Extension.UnknownExtensionIdentifier",
			"Unknown extension " + unknownID},
		{"two parallel next", waiting, "GET", "/event/next", "ID", "", "Extension.InvalidExtensionState",
			"State transition from Ready to Ready failed for extension ID. Error: State transition is not allowed"},
		{"next after init/error", failed, "GET", "/event/next", "ID", "", "Extension.InvalidExtensionState",
			"State transition from InitError to Ready failed for extension ID. Error: State transition is not allowed"},
		{"init/error with no UUID", nothing, "POST", "/init/error", "x", "x", "Extension.InvalidExtensionIdentifier",
			"Invalid Lambda-Extension-Identifier"},
		{"exit/error without", nothing, "POST", "/exit/error", "", "x", "Extension.MissingExtensionIdentifier",
			"Missing Lambda-Extension-Identifier header"},
		{"exit/error of a stranger", nothing, "POST", "/exit/error", unknownID, "x", "Extension.UnknownExtensionIdentifier",
			"Unknown Lambda-Extension-Identifier"},
		{"exit/error without a type", nothing, "POST", "/exit/error", "ID", "", "Extension.MissingHeader",
			"Lambda-Extension-Function-Error-Type not found"},
		{"init/error without", nothing, "POST", "/init/error", "", "x", "Extension.MissingExtensionIdentifier",
			"Missing Lambda-Extension-Identifier header"},
		{"init/error of a stranger", nothing, "POST", "/init/error", unknownID, "x", "Extension.UnknownExtensionIdentifier",
			"Unknown Lambda-Extension-Identifier"},
		{"init/error without a type", nothing, "POST", "/init/error", "ID", "", "Extension.MissingHeader",
			"Lambda-Extension-Function-Error-Type not found"},
		{"init/error when ready", waiting, "POST", "/init/error", "ID", "x", "Extension.InvalidExtensionState",
			"State transition from Ready to InitError failed for extension ID. Error: State transition is not allowed"},
		{"exit/error after init/error", failed, "POST", "/exit/error", "ID", "x", "Extension.InvalidExtensionState",
			"State transition from InitError to ExitError failed for extension ID. Error: State transition is not allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSession(t, "ext")
			s.register("ext", `{"events":["INVOKE"]}`)
			c.before(s)
			id := strings.ReplaceAll(c.id, "ID", s.ids["ext"])
			got := s.call(c.method, c.path, "", identifierHeader, id, errorType, c.errorType)
			text := strings.ReplaceAll(c.wantText, "extension ID", "extension "+id)
			want := `{"errorMessage":"` + text + `","errorType":"` + c.wantType + `"}`
			if got.status != 403 || got.body != want {
				t.Errorf("got  %d %s\nwant 403 %s", got.status, got.body, want)
			}
		})
	}
}

func TestRegisterAnswers(t *testing.T) {
	const plain = `{"functionName":"shop","functionVersion":"$LATEST","handler":"index.handler"}`
	const account = `{"functionName":"shop","functionVersion":"$LATEST","handler":"index.handler",` +
		`"accountId":"123456789012"}`
	for _, c := range []struct{ features, want string }{
		{"", plain}, {"accountId", account}, {"other, accountId", account}, {"accountid", plain},
	} {
		s := newSession(t, "ext")
		got := s.register("ext", `{"events":["INVOKE","SHUTDOWN"]}`, featureHeader, c.features)
		if got.status != 200 || got.body != c.want || !uuid.MatchString(got.header.Get(identifierHeader)) {
			t.Errorf("%q: %d %s, identifier %q", c.features, got.status, got.body, got.header.Get(identifierHeader))
		}
	}
}

func TestInitWaitsForEveryExtension(t *testing.T) {
	s := newSession(t, "a", "b")
	registered := s.api.AllRegistered()
	s.register("a", `{"events":["INVOKE"]}`)
	if closed(registered) {
		t.Fatal("b has not registered")
	}
	s.register("b", `{}`) // no events at all, and still awaited
	<-registered.Done()
	s.register("agent", `{"events":["INVOKE"]}`)
	s.api.CloseRegistration()
	ready := s.api.AllReady()
	s.next("a")
	s.next("agent")
	if closed(ready) {
		t.Fatal("b has not called next")
	}
	s.next("b")
	<-ready.Done()
	want := []Extension{{"a", Ready, []string{"INVOKE"}, false}, {"b", Ready, nil, false}, {"agent", Ready,
		[]string{"INVOKE"}, true}}
	if diff := cmp.Diff(want, s.api.Extensions()); diff != "" {
		t.Error(diff)
	}
}

func TestInvokeGoesToSubscribersOnly(t *testing.T) {
	s := newSession(t, "both", "shutdown", "none")
	s.register("both", `{"events":["INVOKE","SHUTDOWN"]}`)
	s.register("shutdown", `{"events":["SHUTDOWN"]}`)
	s.register("none", `{}`)
	for _, name := range []string{"both", "shutdown", "none"} {
		s.next(name)
	}
	done := s.api.Invoke(Invocation{RequestID: "r1", Deadline: time.UnixMilli(1790000003000), FunctionARN: "arn",
		TraceID: "Root=1"})
	got := <-s.events
	const want = `{"eventType":"INVOKE","deadlineMs":1790000003000,"requestId":"r1","invokedFunctionArn":"arn",` +
		`"tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1"}}`
	if got.body != want || got.header.Get("Content-Type") != "application/json" ||
		!uuid.MatchString(got.header.Get("Lambda-Extension-Event-Identifier")) {
		t.Errorf("got %s %v", got.body, got.header)
	}
	if closed(done) || s.state("both") != Running || s.state("shutdown") != Ready {
		t.Errorf("states: both %s, shutdown %s", s.state("both"), s.state("shutdown"))
	}
	s.next("both")
	<-done.Done()
	if len(s.events) != 0 {
		t.Errorf("an extension without INVOKE got %s", (<-s.events).body)
	}
}

func TestInvokeWithoutTrace(t *testing.T) {
	s := newSession(t, "ext")
	s.register("ext", `{"events":["INVOKE"]}`)
	s.next("ext")
	s.api.Invoke(Invocation{RequestID: "r1", Deadline: time.UnixMilli(1), FunctionARN: "arn"})
	const want = `{"eventType":"INVOKE","deadlineMs":1,"requestId":"r1","invokedFunctionArn":"arn"}`
	if got := <-s.events; got.body != want {
		t.Errorf("got %s", got.body)
	}
}

func TestShutdown(t *testing.T) {
	s := newSession(t, "waiting", "busy", "unsubscribed", "unregistered")
	s.register("waiting", `{"events":["SHUTDOWN"]}`)
	s.register("busy", `{"events":["INVOKE","SHUTDOWN"]}`)
	s.register("unsubscribed", `{"events":["INVOKE"]}`)
	s.next("waiting")
	for name, want := range map[string]bool{"waiting": true, "busy": true, "unsubscribed": false, "unregistered": false} {
		if got := s.api.Shutdown(name, "spindown", time.UnixMilli(2000)); got != want {
			t.Errorf("%s: sent = %v", name, got)
		}
	}
	const want = `{"eventType":"SHUTDOWN","deadlineMs":2000,"shutdownReason":"spindown"}`
	got := <-s.events
	if got.body != want || got.header.Get("Lambda-Extension-Event-Identifier") != "" ||
		!strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("got %s %v", got.body, got.header)
	}
	if got := s.call("GET", "/event/next", "", identifierHeader, s.ids["busy"]); got.body != want {
		t.Errorf("busy got %s", got.body)
	}
	s.api.SetState("waiting", Exited)
	if s.state("waiting") != Exited {
		t.Errorf("waiting is %s", s.state("waiting"))
	}
}

func TestErrorsAreReportedOnce(t *testing.T) {
	const header = "Lambda-Extension-Function-Error-Type"
	s := newSession(t, "early", "late")
	s.register("early", `{}`)
	s.register("late", `{}`)
	s.next("late")
	for range 2 { // repeated calls are accepted
		for name, path := range map[string]string{"early": "/init/error", "late": "/exit/error"} {
			got := s.call("POST", path, "not read", identifierHeader, s.ids[name], header, "Extension.ConfigInvalid")
			if got.status != 202 || got.body != `{"status":"OK"}` {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
	}
	s.api.SetState("early", Exited) // the first word stands
	if s.state("early") != InitError || s.state("late") != ExitError || len(s.failed) != 2 {
		t.Errorf("early %s, late %s, reported %v", s.state("early"), s.state("late"), s.failed)
	}
}

// TestEventOfABrokenConnection: the extension was gone when INVOKE came, and
// gets it when it asks again.
func TestEventOfABrokenConnection(t *testing.T) {
	s := newSession(t, "ext")
	s.register("ext", `{"events":["INVOKE"]}`)
	ctx, hangUp := context.WithCancel(context.Background())
	r := httptest.NewRequest("GET", "/2020-01-01/extension/event/next", nil).WithContext(ctx)
	r.Header.Set(identifierHeader, s.ids["ext"])
	hangUp()
	s.api.ServeHTTP(httptest.NewRecorder(), r)
	done := s.api.Invoke(Invocation{RequestID: "r1", Deadline: time.UnixMilli(1)})
	got, err := s.try("GET", "/event/next", "", identifierHeader, s.ids["ext"])
	if err != nil || !strings.Contains(got.body, `"requestId":"r1"`) || closed(done) {
		t.Errorf("got %s, %v", got.body, err)
	}
}

// TestExitErrorIsTakenInEveryState before the end.
func TestExitErrorIsTakenInEveryState(t *testing.T) {
	for state, lead := range map[State]func(*session){
		Registered: func(*session) {},
		Ready:      func(s *session) { s.next("ext") },
		Running: func(s *session) {
			s.next("ext")
			s.api.Invoke(Invocation{RequestID: "r1", Deadline: time.UnixMilli(1)})
			<-s.events
		},
	} {
		s := newSession(t, "ext")
		s.register("ext", `{"events":["INVOKE"]}`)
		lead(s)
		if got := s.state("ext"); got != state {
			t.Errorf("%s, want %s", got, state)
		}
		got := s.call("POST", "/exit/error", "", identifierHeader, s.ids["ext"],
			"Lambda-Extension-Function-Error-Type", "Extension.X")
		if got.status != 202 || s.state("ext") != ExitError {
			t.Errorf("in %s: %d %s, then %s", state, got.status, got.body, s.state("ext"))
		}
	}
}

// TestSecondNextWhileAnEventIsHeldBack: a fault delays the event, and the
// extension asks again. One of the two gets it.
func TestSecondNextWhileAnEventIsHeldBack(t *testing.T) {
	s := newSession(t, "ext")
	held, release := make(chan struct{}, 2), make(chan struct{})
	s.api.cfg.BeforeEvent = func(context.Context) { held <- struct{}{}; <-release }
	s.register("ext", `{"events":["INVOKE"]}`)
	s.next("ext")
	s.api.Invoke(Invocation{RequestID: "r1", Deadline: time.UnixMilli(1)})
	<-held
	statuses := make(chan int)
	go func() {
		got, _ := s.try("GET", "/event/next", "", identifierHeader, s.ids["ext"])
		statuses <- got.status
	}()
	<-held
	close(release)
	if first, second := (<-s.events).status, <-statuses; first+second != 200+403 {
		t.Errorf("answered %d and %d, want 200 and 403", first, second)
	}
}

func TestIdentify(t *testing.T) {
	s := newSession(t, "ext")
	s.register("ext", `{}`)
	for id, want := range map[string]string{s.ids["ext"]: "ext", "": "", "x": "", unknownID: ""} {
		r := httptest.NewRequest("PUT", "/2022-07-01/telemetry", nil)
		r.Header.Set(identifierHeader, id)
		w := httptest.NewRecorder()
		name, ok := s.api.Identify(w, r)
		if name != want || ok != (want != "") || (!ok && w.Code != 403) {
			t.Errorf("%q: %q %v, status %d", id, name, ok, w.Code)
		}
	}
}

// TestManagedRegistration: on managed instances external extensions may ask for
// SHUTDOWN only, internal ones for nothing.
func TestManagedRegistration(t *testing.T) {
	for _, c := range []struct {
		name, events string
		status       int
		message      string
	}{
		{"ext", `["SHUTDOWN"]`, 200, ""},
		{"ext", `[]`, 200, ""},
		{"ext", `["SHUTDOWN","INVOKE"]`, 403, "INVOKE: ErrorInvalidEventType"},
		{"agent", `[]`, 200, ""},
		{"agent", `["INVOKE"]`, 403, "No events allowed for internal extensions"},
		{"agent", `["SHUTDOWN"]`, 403, "No events allowed for internal extensions"},
	} {
		s := newSession(t, "ext")
		s.api.cfg.Managed = true
		got, err := s.try("POST", "/register", `{"events":`+c.events+`}`, "Lambda-Extension-Name", c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got.status != c.status || c.message != "" &&
			got.body != `{"errorMessage":"`+c.message+`","errorType":"Extension.InvalidEventType"}` {
			t.Errorf("%s %s: %d %s", c.name, c.events, got.status, got.body)
		}
	}
}

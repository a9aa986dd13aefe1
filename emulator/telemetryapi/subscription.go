package telemetryapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	apiTelemetry = "telemetry"
	apiLogs      = "logs"
)

// maxSubscription bounds the body of a subscription request.
const maxSubscription = 1 << 20

// reservedPort is the Runtime API's classic port, which no destination may use.
const reservedPort = 9001

// subscription is what an extension has asked for, checked and completed.
type subscription struct {
	api      string
	schema   string
	types    [kinds]bool
	maxItems int
	maxBytes int
	timeout  time.Duration
	tcp      bool
	method   string // of HTTP
	address  string // host:port
	path     string // of HTTP, with the query
}

// subscriptionBody is the request as it is on the wire.
type subscriptionBody struct {
	SchemaVersion *string  `json:"schemaVersion"`
	Types         []string `json:"types"`
	Buffering     struct {
		MaxItems  *int64 `json:"maxItems"`
		MaxBytes  *int64 `json:"maxBytes"`
		TimeoutMs *int64 `json:"timeoutMs"`
	} `json:"buffering"`
	Destination struct {
		Protocol string `json:"protocol"`
		URI      string `json:"URI"`
		Port     int64  `json:"port"`
		Method   string `json:"method"`
		Encoding string `json:"encoding"`
	} `json:"destination"`
}

// parseSubscription checks a request's body. The error lists all that is wrong
// with it, in the platform's style.
func parseSubscription(api string, body []byte, managed bool) (subscription, error) {
	var in subscriptionBody
	if err := json.Unmarshal(body, &in); err != nil {
		return subscription{}, fmt.Errorf("request body is not a valid subscription: %w", err)
	}
	s := subscription{api: api}
	var wrong []string
	note := func(problems ...string) { wrong = append(wrong, problems...) }
	note(s.setSchema(in.SchemaVersion, managed)...)
	if in.Destination.Protocol == "TCP" {
		note(s.setTCP(in.Destination.Port)...)
	} else {
		note(s.setHTTP(in.Destination.Protocol, in.Destination.URI, in.Destination.Method)...)
	}
	if e := in.Destination.Encoding; e != "" && e != "JSON" {
		note(fmt.Sprintf("encoding %q is not supported", e))
	}
	note(s.setTypes(in.Types)...)
	var timeout int
	note(within("maxItems", in.Buffering.MaxItems, 1_000, 10_000, 10_000, &s.maxItems)...)
	note(within("maxBytes", in.Buffering.MaxBytes, 262_144, 1_048_576, 262_144, &s.maxBytes)...)
	note(within("timeoutMs", in.Buffering.TimeoutMs, 25, 30_000, 1_000, &timeout)...)
	s.timeout = time.Duration(timeout) * time.Millisecond
	if len(wrong) > 0 {
		return s, fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return s, nil
}

func (s *subscription) setSchema(version *string, managed bool) []string {
	known := []string{"2022-07-01", "2022-12-13", "2025-01-29"}
	if s.api == apiLogs {
		known = []string{"2020-08-15", "2021-03-18"}
	} else if managed {
		known = known[2:]
	}
	switch {
	case version == nil && s.api == apiLogs:
		s.schema = known[0]
	case version == nil:
		return []string{"schemaVersion is not provided"}
	case !slices.Contains(known, *version):
		return []string{fmt.Sprintf("schemaVersion %q is not supported, use one of %s", *version,
			strings.Join(known, ", "))}
	default:
		s.schema = *version
	}
	return nil
}

func (s *subscription) setTypes(types []string) (wrong []string) {
	if len(types) == 0 {
		return []string{"types should not be empty"}
	}
	names := kindNames()
	for _, t := range types {
		i := slices.Index(names[:], t)
		if i < 0 {
			wrong = append(wrong, fmt.Sprintf("type %q is not supported", t))
			continue
		}
		s.types[i] = true
	}
	return wrong
}

func (s *subscription) setTCP(port int64) []string {
	s.tcp = true
	s.address = "sandbox.localdomain:" + strconv.FormatInt(port, 10)
	if problem := checkPort("port", port); problem != "" {
		return []string{problem}
	}
	return nil
}

func (s *subscription) setHTTP(protocol, uri, method string) (wrong []string) {
	switch protocol {
	case "HTTP":
	case "":
		return []string{"destination protocol is not provided"}
	default:
		return []string{fmt.Sprintf("destination protocol %q is not supported, use HTTP or TCP", protocol)}
	}
	s.method = http.MethodPost
	switch {
	case method == http.MethodPut && s.api == apiLogs:
		s.method = http.MethodPut
	case method != "" && method != http.MethodPost && method != http.MethodPut:
		wrong = append(wrong, fmt.Sprintf("destination method %q is not supported", method))
	}
	u, err := url.Parse(uri)
	if uri == "" || err != nil {
		return append(wrong, "URI is not provided or not valid")
	}
	if u.Scheme != "http" {
		wrong = append(wrong, fmt.Sprintf("URI scheme %q is not supported, use http", u.Scheme))
	}
	if host := u.Hostname(); host != "sandbox" && host != "sandbox.localdomain" {
		wrong = append(wrong, fmt.Sprintf("URI host %q is not supported, use sandbox.localdomain", host))
	}
	if u.Port() == "" {
		return append(wrong, "URI port is not provided")
	}
	port, _ := strconv.ParseInt(u.Port(), 10, 32)
	if problem := checkPort("URI port", port); problem != "" {
		wrong = append(wrong, problem)
	}
	s.address, s.path = u.Host, u.RequestURI()
	return wrong
}

func checkPort(name string, port int64) string {
	switch {
	case port < 1 || port > 65_535:
		return fmt.Sprintf("%s %d should be between 1 and 65535", name, port)
	case port == reservedPort:
		return fmt.Sprintf("%s %d is reserved", name, port)
	}
	return ""
}

func within(name string, value *int64, least, most, otherwise int64, to *int) []string {
	if value == nil {
		value = &otherwise
	}
	if *value < least || *value > most {
		return []string{fmt.Sprintf("%s %d should be between %d and %d", name, *value, least, most)}
	}
	*to = int(*value)
	return nil
}

// objects tells whether JSON lines arrive as objects.
func (s *subscription) objects() bool { return s.api == apiTelemetry && s.schema >= "2022-12-13" }

func (s *subscription) wants(e *event) bool {
	return s.types[e.kind] && receives(s.api, s.schema, e.typ)
}

// typeNames lists the subscribed types as the subscription event does.
func (s *subscription) typeNames() []string {
	names := []string{}
	for i, name := range kindNames() {
		if s.types[i] {
			names = append(names, name)
		}
	}
	return names
}

// ServeTelemetry answers PUT /2022-07-01/telemetry.
func (h *Hub) ServeTelemetry(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, apiTelemetry, "ValidationError", "Telemetry")
}

// ServeLogs answers PUT /2020-08-15/logs.
func (h *Hub) ServeLogs(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, apiLogs, "Logs.ValidationError", "Logs")
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request, api, invalid, title string) {
	if r.Method != http.MethodPut {
		w.Header().Set("Allow", http.MethodPut)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	name, ok := h.config.Identify(w, r)
	if !ok {
		return
	}
	if h.subscriptionClosed() {
		h.refuseClosed(w, title)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSubscription))
	if err != nil {
		answerError(w, http.StatusBadRequest, invalid, fmt.Sprintf("request body cannot be read: %v", err))
		return
	}
	s, err := parseSubscription(api, body, h.config.Managed)
	if err != nil {
		answerError(w, http.StatusBadRequest, invalid, err.Error())
		return
	}
	switch h.subscribe(name, s) {
	case subscribeClosed:
		h.refuseClosed(w, title)
	case subscribeOther:
		answerError(w, http.StatusBadRequest, invalid,
			fmt.Sprintf("extension %s is subscribed through the other API already", name))
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `"OK"`)
	}
}

func (h *Hub) refuseClosed(w http.ResponseWriter, title string) {
	message := title + " API subscription is closed already"
	if h.config.Managed {
		message = title + " API subscription is closed"
	}
	answerError(w, http.StatusForbidden, title+".SubscriptionClosed", message)
}

func answerError(w http.ResponseWriter, status int, typ, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that is gone has no use for the answer.
	_ = json.NewEncoder(w).Encode(struct {
		ErrorMessage string `json:"errorMessage"`
		ErrorType    string `json:"errorType"`
	}{message, typ})
}

func (h *Hub) subscriptionClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.initOver || h.closed
}

// The outcomes of subscribe.
const (
	subscribed = iota
	subscribeClosed
	subscribeOther
)

// subscribe adds or replaces an extension's subscription, gives it the events of
// Init so far and tells all subscribers about it.
func (h *Hub) subscribe(name string, want subscription) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.initOver || h.closed {
		return subscribeClosed
	}
	i := slices.IndexFunc(h.subs, func(s *subscriber) bool { return s.name == name })
	if i >= 0 {
		switch old := h.subs[i]; {
		case old.want.api != want.api:
			return subscribeOther
		case old.want == want:
			return subscribed
		default:
			old.cancel()
			h.replaced = append(h.replaced, old)
			h.subs = slices.Delete(h.subs, i, i+1)
		}
	}
	s := newSubscriber(h, name, want)
	for i := range h.early.events {
		s.add(&h.early.events[i])
	}
	s.missed(&h.early)
	h.subs = append(h.subs, s)
	typ := "platform.telemetrySubscription"
	if want.api == apiLogs {
		typ = "platform.logsSubscription"
	}
	record, _ := json.Marshal(struct {
		Name  string   `json:"name"`
		State string   `json:"state"`
		Types []string `json:"types"`
	}{name, "Subscribed", want.typeNames()})
	h.publish(&event{at: stamp(time.Now()), typ: typ, kind: kindPlatform, record: record})
	return subscribed
}

package wire

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	"slipstream/telemetry"
)

var seed = flag.Uint64("seed", 0, "of the random OTLP messages; 0 takes the clock")

var signals = []telemetry.Signal{telemetry.Logs, telemetry.Traces, telemetry.Metrics}

// newRequest is OpenTelemetry's own message for a signal's request.
func newRequest(signal telemetry.Signal) proto.Message {
	switch signal {
	case telemetry.Logs:
		return &logspb.LogsData{}
	case telemetry.Traces:
		return &tracepb.TracesData{}
	}
	return &metricspb.MetricsData{}
}

// random makes OTLP messages with every field that the descriptors have.
type random struct {
	*rand.Rand
	unknown bool // with fields that OTLP does not know
}

func newRandom(t testing.TB) *random {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("go test -seed=%d", s)
	return &random{Rand: rand.New(rand.NewPCG(s, 0))}
}

func (r *random) request(signal telemetry.Signal) proto.Message {
	m := newRequest(signal)
	r.fill(m.ProtoReflect(), 0)
	return m
}

func (r *random) fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		deep := depth > 7 && r.IntN(4) > 0 || depth > 14
		if f.Kind() == protoreflect.MessageKind && deep || depth > 0 && r.IntN(4) == 0 {
			continue
		}
		switch {
		case f.IsList():
			for list := m.Mutable(f).List(); r.IntN(3) > 0; {
				if f.Kind() == protoreflect.MessageKind {
					r.fill(list.AppendMutable().Message(), depth+1)
				} else {
					list.Append(r.scalar(f))
				}
			}
		case f.ContainingOneof() != nil && r.IntN(f.ContainingOneof().Fields().Len()) > 0:
		case f.Kind() == protoreflect.MessageKind:
			r.fill(m.Mutable(f).Message(), depth+1)
		default:
			m.Set(f, r.scalar(f))
		}
	}
	if r.unknown && r.IntN(3) == 0 {
		m.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, protowire.Number(20+r.IntN(99)), 2), "new"))
	}
}

func (r *random) scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	bits := r.Uint64() >> r.IntN(64) * uint64(r.IntN(4)&1)
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOf(bits&1 == 1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOf(protoreflect.EnumNumber(int32(bits)))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOf(int32(bits))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOf(uint32(bits))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOf(int64(bits))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOf(bits)
	case protoreflect.DoubleKind:
		doubles := []float64{0, math.Copysign(0, -1), 1, -2.5, 1e-7, 1e21, math.MaxFloat64, math.NaN(), math.Inf(1),
			math.Inf(-1), r.NormFloat64(), math.Float64frombits(r.Uint64())}
		return protoreflect.ValueOf(doubles[r.IntN(len(doubles))])
	case protoreflect.StringKind:
		return protoreflect.ValueOf(r.text())
	case protoreflect.BytesKind:
		size := map[string]int{"trace_id": 16, "span_id": 8, "parent_span_id": 8}[string(f.Name())]
		if size == 0 {
			size = r.IntN(40)
		}
		b := make([]byte, size*min(1, r.IntN(4)))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return protoreflect.ValueOf(b)
	}
	panic(f.FullName())
}

func (r *random) text() string {
	pieces := []string{"a", "service.name", "faas.name", "\"", "\\", "\n\r\t\x00\x1f", "é", "\u2028", "😀", "\ufffd", "</",
		strings.Repeat("long ", 60)}
	text := ""
	for r.IntN(3) > 0 {
		text += pieces[r.IntN(len(pieces))]
	}
	return text
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unmarshal(t testing.TB, signal telemetry.Signal, b []byte, unknown bool) proto.Message {
	t.Helper()
	m := newRequest(signal)
	if err := (proto.UnmarshalOptions{DiscardUnknown: !unknown}).Unmarshal(b, m); err != nil {
		t.Fatalf("the oracle refuses %x: %v", b, err)
	}
	return m
}

func same(t testing.TB, what string, want, got proto.Message) {
	t.Helper()
	if proto.Equal(want, got) {
		return
	}
	if proto.Size(want) > 64<<10 { // a diff takes minutes
		t.Fatalf("%s: not equal, of %d and %d bytes", what, proto.Size(want), proto.Size(got))
	}
	t.Fatalf("%s (-want +got):\n%s", what, cmp.Diff(want, got, protocmp.Transform()))
}

// translate turns the identifiers of OTLP/JSON into those of protobuf's JSON,
// or back: the one form in which they differ.
func translate(t testing.TB, text []byte, convert func(string) (string, error)) []byte {
	t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for key, item := range v {
				id, ok := item.(string)
				if !ok || key != "traceId" && key != "spanId" && key != "parentSpanId" {
					walk(item)
					continue
				}
				other, err := convert(id)
				if err != nil {
					t.Fatalf("%s %q: %v", key, id, err)
				}
				v[key] = other
			}
		}
	}
	var v any
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	walk(v)
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func base64OfHex(text string) (string, error) {
	b, err := hex.DecodeString(text)
	return base64.StdEncoding.EncodeToString(b), err
}

func hexOfBase64(text string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	return hex.EncodeToString(b), err
}

// readJSON reads OTLP/JSON with protobuf's own reader.
func readJSON(t testing.TB, signal telemetry.Signal, line []byte) proto.Message {
	t.Helper()
	m := newRequest(signal)
	if err := protojson.Unmarshal(translate(t, line, base64OfHex), m); err != nil {
		t.Fatalf("the oracle refuses %s: %v", line, err)
	}
	return m
}

// rounds is how many random messages a test takes of each signal.
const rounds = 300

func TestJSONIsFieldEqual(t *testing.T) {
	r := newRandom(t)
	for _, signal := range signals {
		for range rounds {
			want := r.request(signal)
			line, err := ExportToJSON([]byte("before "), signal, marshal(t, want))
			if err != nil || !strings.HasPrefix(string(line), "before ") || strings.ContainsAny(string(line), "\r\n") {
				t.Fatalf("%q, %v", line, err)
			}
			same(t, "to JSON", want, readJSON(t, signal, line[len("before "):]))

			text, err := protojson.MarshalOptions{UseEnumNumbers: r.IntN(2) == 0}.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			text = translate(t, text, hexOfBase64)
			for _, text := range [][]byte{text, line[len("before "):]} {
				body, err := ExportFromJSON([]byte("before "), signal, text)
				if err != nil || !strings.HasPrefix(string(body), "before ") {
					t.Fatalf("%v for %s", err, text)
				}
				same(t, "from JSON", want, unmarshal(t, signal, body[len("before "):], true))
			}
		}
	}
}

func TestCheckCountsWhatTheOracleHolds(t *testing.T) {
	r := newRandom(t)
	r.unknown = true
	for _, signal := range signals {
		for range rounds {
			want := r.request(signal)
			if n, err := CheckExport(signal, marshal(t, want)); n != records(want.ProtoReflect()) || err != nil {
				t.Fatalf("%d records, %v; not %d", n, err, records(want.ProtoReflect()))
			}
		}
	}
}

// records counts log records, spans and data points.
func records(m protoreflect.Message) (n int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() != protoreflect.MessageKind {
			return true
		}
		if !f.IsList() {
			n += records(v.Message())
			return true
		}
		switch f.Name() {
		case "log_records", "spans", "data_points":
			n += v.List().Len()
		default:
			for i := range v.List().Len() {
				n += records(v.List().Get(i).Message())
			}
		}
		return true
	})
	return n
}

// Every field of OTLP is in the table as the descriptors have it, and no other.
func TestTableIsThatOfTheDescriptors(t *testing.T) {
	kinds := map[protoreflect.Kind]otlpKind{
		protoreflect.MessageKind: kindMessage, protoreflect.StringKind: kindString, protoreflect.BytesKind: kindBytes,
		protoreflect.BoolKind: kindBool, protoreflect.EnumKind: kindEnum, protoreflect.Int32Kind: kindInt32,
		protoreflect.Uint32Kind: kindUint32, protoreflect.Int64Kind: kindInt64, protoreflect.Uint64Kind: kindUint64,
		protoreflect.Sint32Kind: kindSint32, protoreflect.Fixed32Kind: kindFixed32,
		protoreflect.Fixed64Kind: kindFixed64, protoreflect.Sfixed64Kind: kindSfixed64,
		protoreflect.DoubleKind: kindDouble,
	}
	seen := map[uint8]protoreflect.FullName{}
	var compare func(message uint8, d protoreflect.MessageDescriptor)
	compare = func(message uint8, d protoreflect.MessageDescriptor) {
		if name, ok := seen[message]; ok {
			if name != d.FullName() {
				t.Errorf("message %d is %s and %s", message, name, d.FullName())
			}
			return
		}
		seen[message] = d.FullName()
		if len(otlpMessages[message]) > maxFields {
			t.Errorf("%s has a field beyond %d", d.FullName(), maxFields)
		}
		known := 0
		for _, f := range otlpMessages[message] {
			if f.kind != kindUnknown {
				known++
			}
		}
		if known != d.Fields().Len() {
			t.Errorf("%s: %d fields, not %d", d.FullName(), known, d.Fields().Len())
		}
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if int(f.Number()) >= len(otlpMessages[message]) {
				t.Errorf("%s is missing", f.FullName())
				continue
			}
			got := otlpMessages[message][f.Number()]
			want := otlpField{name: f.JSONName(), kind: kinds[f.Kind()], of: got.of, trait: got.trait & counted}
			switch {
			case f.Name() == "trace_id":
				want.kind = kindTraceID
			case strings.HasSuffix(string(f.Name()), "span_id"):
				want.kind = kindSpanID
			}
			switch {
			case f.IsList():
				want.trait |= repeated
			case f.HasOptionalKeyword():
				want.trait |= explicit
			case f.ContainingOneof() != nil:
				want.trait |= oneOf
			}
			if got != want {
				t.Errorf("%s: %+v, not %+v", f.FullName(), got, want)
			}
			if f.Kind() == protoreflect.MessageKind {
				compare(got.of, f.Message())
			}
			if f.Kind() == protoreflect.EnumKind {
				for n, name := range otlpEnums[got.of] {
					if v := f.Enum().Values().ByName(protoreflect.Name(name)); v == nil || int(v.Number()) != n {
						t.Errorf("%s: %d is not %s", f.FullName(), n, name)
					}
				}
			}
		}
	}
	for _, signal := range signals {
		request, _ := requestOf(signal)
		compare(request, newRequest(signal).ProtoReflect().Descriptor())
	}
	if len(seen) != len(otlpMessages) {
		t.Errorf("%d messages of %d are in a request", len(seen), len(otlpMessages))
	}
}

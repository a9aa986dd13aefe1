package wire

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"slipstream/telemetry"
)

// again is an edit that writes every text anew, as it was.
func again() *ExportEdit {
	return &ExportEdit{Text: func(dst, _, text []byte) ([]byte, bool) { return append(dst, text...), true }}
}

// masked is an edit that leaves nothing but stars, also of what is no text.
func masked() *ExportEdit {
	star := func(dst []byte) ([]byte, bool) { return append(dst, '*'), true }
	return &ExportEdit{
		Text:  func(dst, _, _ []byte) ([]byte, bool) { return star(dst) },
		Value: func(dst, _ []byte) ([]byte, bool) { return star(dst) },
	}
}

// mask is the model of masked: on the oracle's message.
func mask(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() == protoreflect.StringKind && f.IsList():
			for i := range v.List().Len() {
				v.List().Set(i, protoreflect.ValueOfString("*"))
			}
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("*"))
		case f.Kind() == protoreflect.MessageKind && f.IsList():
			for i := range v.List().Len() {
				mask(v.List().Get(i).Message())
			}
		case f.Kind() == protoreflect.MessageKind:
			mask(v.Message())
		}
		return true
	})
	if d := m.Descriptor(); d.Name() == "AnyValue" {
		which := m.WhichOneof(d.Oneofs().Get(0))
		if which == nil {
			return
		}
		if which.Name() == "bytes_value" && utf8Valid(m.Get(which).Bytes()) {
			m.Set(which, protoreflect.ValueOfBytes([]byte("*")))
			return
		}
		m.Set(d.Fields().ByName("string_value"), protoreflect.ValueOfString("*"))
	}
}

func utf8Valid(b []byte) bool { return strings.ToValidUTF8(string(b), "") == string(b) }

// drop is the model of a Record that says no to each record at whose turn the
// bit of which is 1.
func drop(m protoreflect.Message, which uint64, turn *int) (records, dropped int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Kind() != protoreflect.MessageKind || !m.Has(f) {
			continue
		}
		if !f.IsList() {
			if n, gone := drop(m.Mutable(f).Message(), which, turn); n > 0 {
				records, dropped = records+n, dropped+gone
				if n == gone {
					m.Clear(f)
				}
			}
			continue
		}
		list, kept := m.Mutable(f).List(), 0
		for k := range list.Len() {
			item := list.Get(k)
			n, gone := 1, 0
			switch f.Name() {
			case "log_records", "spans", "data_points":
				gone = int(which >> (*turn % 64) & 1)
				*turn++
			default:
				n, gone = drop(item.Message(), which, turn)
			}
			records, dropped = records+n, dropped+gone
			if n == 0 || n > gone {
				list.Set(kept, item)
				kept++
			}
		}
		list.Truncate(kept)
	}
	return records, dropped
}

func dropping(which uint64, turn *int) *ExportEdit {
	return &ExportEdit{Record: func() bool {
		*turn++
		return which>>((*turn-1)%64)&1 == 0
	}}
}

// judgeEdits holds every edit of body against what the oracle makes of it.
func judgeEdits(t testing.TB, signal telemetry.Signal, body []byte, which uint64) {
	t.Helper()
	want := unmarshal(t, signal, body, true)
	n := 0
	for name, edit := range map[string]*ExportEdit{"none": {}, "again": again()} {
		out, records := edit.Edit(nil, signal, body)
		same(t, name, want, unmarshal(t, signal, out, true))
		if checked, err := CheckExport(signal, out); err != nil || checked != records {
			t.Fatalf("%s: %d records, %d checked, %v", name, records, checked, err)
		}
		if n = records; name == "none" && !bytes.Equal(out, body) {
			t.Fatal("an edit without hooks changed it")
		}
	}
	out, records := masked().Edit(nil, signal, body)
	if checked, err := CheckExport(signal, out); err != nil || checked != records || records != n {
		t.Fatalf("masked: %d records of %d, %d checked, %v", records, n, checked, err)
	}
	got := unmarshal(t, signal, out, false)
	model := unmarshal(t, signal, body, false)
	mask(model.ProtoReflect())
	same(t, "masked", model, got)

	turn := 0
	out, records = dropping(which, &turn).Edit(nil, signal, body)
	if checked, err := CheckExport(signal, out); err != nil || checked != records {
		t.Fatalf("dropped: %d records, %d checked, %v", records, checked, err)
	}
	if records > n || turn != n {
		t.Fatalf("%d records of %d, asked %d times", records, n, turn)
	}
}

func TestEditIsFieldEqual(t *testing.T) {
	r := newRandom(t)
	for _, unknown := range []bool{false, true} {
		r.unknown = unknown
		for _, signal := range signals {
			for range rounds {
				m := r.request(signal)
				body, which := marshal(t, m), r.Uint64()
				judgeEdits(t, signal, body, which)
				turn := 0
				out, left := dropping(which, &turn).Edit(nil, signal, body)
				want := unmarshal(t, signal, body, true) // proto.Clone would lose zeros with a sign
				turn = 0
				records, dropped := drop(want.ProtoReflect(), which, &turn)
				if left != records-dropped {
					t.Fatalf("%d records left, not %d of %d", left, records-dropped, records)
				}
				same(t, "dropped", want, unmarshal(t, signal, out, true))
			}
		}
	}
}

// edited is what an edit makes of OTLP/JSON, as JSON.
func edited(t *testing.T, w *ExportEdit, signal telemetry.Signal, text string) string {
	t.Helper()
	body, err := ExportFromJSON(nil, signal, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, records := w.Edit(nil, signal, append(body[:len(body):len(body)], body...)) // two bodies are one
	if n, err := CheckExport(signal, out); err != nil || n != records {
		t.Fatalf("%d records, %d checked, %v", records, n, err)
	}
	if len(out)%2 != 0 || !bytes.Equal(out[:len(out)/2], out[len(out)/2:]) {
		t.Fatalf("the second body became another: %q", out)
	}
	line, err := ExportToJSON(nil, signal, out[:len(out)/2])
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

const spanText = `{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{"stringValue":"v"}}]},` +
	`"scopeSpans":[` +
	`{"spans":[{"traceState":"k=v","name":"GET","attributes":[{"key":"a","value":{"stringValue":"v"}},` +
	`{"key":"n","value":{"intValue":"7"}},{"key":"m","value":{"kvlistValue":{"values":[` +
	`{"key":"x","value":{"arrayValue":{"values":[{"stringValue":"v"},{"doubleValue":1.5},{"boolValue":true}]}}}]}}}],` +
	`"droppedAttributesCount":2,"events":[{"name":"e","attributes":[{"key":"a","value":{"bytesValue":"dg=="}}]}],` +
	`"status":{"message":"no","code":2}}]}]}]}`

// Each value is asked for with its path and its field; numbers come as text.
func TestEditTellsWhereItIs(t *testing.T) {
	var seen []string
	w := &ExportEdit{}
	w.Look = func(key, text []byte, size int) { seen = append(seen, fmt.Sprintf("look %s %q %d", key, text, size)) }
	w.Record = func() bool {
		seen = append(seen, fmt.Sprintf("record %s %d %v %q %q %q", w.Name(), w.Level(), w.Entry(), w.Attribute("n"),
			w.Attribute("m"), w.Attribute("none")))
		return true
	}
	w.Text = func(dst, path, text []byte) ([]byte, bool) {
		seen = append(seen, fmt.Sprintf("%s %s=%s %v", w.Field(), path, text, w.InRecord()))
		return nil, false
	}
	w.Value = func(dst, path []byte) ([]byte, bool) {
		seen = append(seen, fmt.Sprintf("%s %s:%s", w.Field(), path, w.AppendValue(nil)))
		return nil, false
	}
	if got := edited(t, w, telemetry.Traces, spanText); got != spanText {
		t.Errorf("changed: %s", got)
	}
	want := []string{"key a=a false", "attributes a=v false",
		`look a "v" 3`, `look n "" 2`, `look m "" 31`, `record GET 17 true "7" "" ""`, "traceState =k=v true",
		"name =GET true", "key a=a true", "attributes a=v true", "key n=n true", "attributes n:7",
		"key m=m true", "attributes m:", "key m.x=x true", "attributes m.x:", "attributes m.x=v true",
		"attributes m.x:1.5", "attributes m.x:true", "name =e true", "key a=a true", "attributes a=v true",
		"message =no true"}
	if !slices.Equal(seen[:len(seen)/2], want) {
		t.Errorf("asked for\n%s", strings.Join(seen[:len(seen)/2], "\n"))
	}
}

// What is removed is counted where OTLP counts it; a mark is there once.
func TestEditRemovesAndMarks(t *testing.T) {
	w := &ExportEdit{}
	w.Text = func(dst, path, text []byte) ([]byte, bool) {
		w.Mark("cut")
		return nil, string(text) == "v" || w.Field() == "name"
	}
	w.Value = func(dst, path []byte) ([]byte, bool) {
		w.Mark("cut")
		return append(dst, "****"...), string(path) == "n"
	}
	want := `{"resourceSpans":[{"resource":{"droppedAttributesCount":1},"scopeSpans":[{"spans":[{"traceState":"k=v",` +
		`"attributes":[{"key":"n","value":{"stringValue":"****"}},{"key":"m","value":{"kvlistValue":{"values":[` +
		`{"key":"x","value":{"arrayValue":{"values":[{"doubleValue":1.5},{"boolValue":true}]}}}]}}},` +
		`{"key":"cut","value":{"boolValue":true}}],"droppedAttributesCount":3,"events":[{"droppedAttributesCount":1}],` +
		`"status":{"message":"no","code":2}}]}]}]}`
	if got := edited(t, w, telemetry.Traces, spanText); got != want {
		t.Errorf("became %s\nnot     %s", got, want)
	}
	if again := edited(t, w, telemetry.Traces, want); again != want {
		t.Errorf("the second time it became %s", again)
	}
}

// A weight stands behind the record's own attributes, once; the trace is a span's
// or a log record's.
func TestEditWeighs(t *testing.T) {
	const trace = `"traceId":"0102030405060708090a0b0c0d0e0f10"`
	const span = `"attributes":[{"key":"n","value":{"intValue":"7"}}`
	traces := []string{}
	w := &ExportEdit{}
	w.Record = func() bool {
		traces = append(traces, fmt.Sprintf("%x", w.TraceID()))
		w.Weigh(100)
		w.Weigh(5)
		return true
	}
	text := `{"resourceSpans":[{"scopeSpans":[{"spans":[{` + trace + `,"name":"GET",` + span
	want := text + `,{"key":"sampling.adjusted_count","value":{"intValue":"100"}}]}]}]}]}`
	if got := edited(t, w, telemetry.Traces, text+`]}]}]}]}`); got != want {
		t.Errorf("became %s\nnot     %s", got, want)
	}
	want = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"attributes":[{"key":"sampling.adjusted_count",` +
		`"value":{"intValue":"100"}}],` + trace + `}]}]}]}`
	got := edited(t, w, telemetry.Logs, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{`+trace+`}]}]}]}`)
	if got != want {
		t.Errorf("became %s\nnot     %s", got, want)
	}
	if again := edited(t, w, telemetry.Logs, want); again != want {
		t.Errorf("the second time it became %s", again)
	}
	edited(t, w, telemetry.Logs, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}`)
	id := "0102030405060708090a0b0c0d0e0f10"
	if want := []string{id, id, id, id, id, id, "", ""}; !slices.Equal(traces, want) {
		t.Errorf("traces %q, want %q", traces, want)
	}
}

func TestEditOfLogs(t *testing.T) {
	const text = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":17,"body":{"stringValue":"line"},` +
		`"eventName":"e"},{"body":{"kvlistValue":{"values":[{"key":"user","value":{"stringValue":"me"}}]}}}]}]}]}`
	var seen []string
	w := &ExportEdit{}
	w.Record = func() bool {
		seen = append(seen, fmt.Sprintf("%d %s %q %q %s", w.Level(), w.Name(), w.Body(), w.Attribute("user"), w.Signal()))
		return true
	}
	w.Text = func(dst, path, text []byte) ([]byte, bool) {
		return append(dst, "a much longer text than before"...), w.Field() == "body"
	}
	want := strings.ReplaceAll(strings.ReplaceAll(text, `"line"`, `"a much longer text than before"`), `"me"`,
		`"a much longer text than before"`)
	if got := edited(t, w, telemetry.Logs, text); got != want {
		t.Errorf("became %s", got)
	}
	if want := []string{`17 e "line" "" logs`, `0  "" "me" logs`}; !slices.Equal(seen[:2], want) {
		t.Errorf("the records are %q", seen[:2])
	}
}

// Points know their metric's name wherever that stands; a metric without points
// is gone.
func TestEditOfMetrics(t *testing.T) {
	point := nest(nil, 1, appendFixed64Field(nil, 3, 1))
	metric := func(name string) []byte {
		return nest(nil, fieldLogRecords, appendStringField(nest(nil, 5, point), 1, name)) // the name comes last
	}
	body := nest(nil, fieldResourceLogs, nest(nil, fieldScopeLogs, append(metric("noise"), metric("orders")...)))
	w := &ExportEdit{}
	w.Record = func() bool { return string(w.Name()) != "noise" }
	out, n := w.Edit(nil, telemetry.Metrics, body)
	want := nest(nil, fieldResourceLogs, nest(nil, fieldScopeLogs, metric("orders")))
	if n != 1 || !bytes.Equal(out, want) {
		t.Errorf("%d points: %x, not %x", n, out, want)
	}
	w.Record = func() bool { return false }
	if out, n := w.Edit(nil, telemetry.Metrics, body); n != 0 || len(out) != 0 {
		t.Errorf("%d points are left: %x", n, out)
	}
}

// What a hook gives may be larger than any length's width, or no UTF-8.
func TestEditOfAnySize(t *testing.T) {
	body, err := ExportFromJSON(nil, telemetry.Traces, []byte(spanText))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "\xff", strings.Repeat("x", 127), strings.Repeat("x", 128),
		strings.Repeat("x", 1<<14), strings.Repeat("x", 1<<21)} {
		w := &ExportEdit{Text: func(dst, _, _ []byte) ([]byte, bool) { return append(dst, text...), true }}
		out, n := w.Edit(nil, telemetry.Traces, body)
		if checked, err := CheckExport(telemetry.Traces, out); err != nil || checked != n || n != 1 {
			t.Errorf("%d bytes: %d records, %v", len(text), checked, err)
		}
	}
}

func FuzzEdit(f *testing.F) {
	r := newRandom(f)
	r.unknown = true
	for i, signal := range signals {
		for range 10 {
			if body := marshal(f, r.request(signal)); len(body) < 10_000 {
				f.Add(uint8(i), body, r.Uint64())
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte, turns uint64) {
		signal := signals[int(which)%len(signals)]
		if _, err := CheckExport(signal, body); err != nil {
			masked().Edit(nil, signal, body) // may be anything but a panic
			return
		}
		out, _ := masked().Edit(nil, signal, body)
		for _, text := range texts(t, signal, out) {
			if len(text) > 1 {
				t.Fatalf("%q is left", text)
			}
		}
		judgeEdits(t, signal, body, turns)
	})
}

// texts are the strings of a request, found by the table alone.
func texts(t testing.TB, signal telemetry.Signal, body []byte) (all []string) {
	var walk func(message uint8, b []byte)
	walk = func(message uint8, b []byte) {
		for at := 0; at < len(b); {
			tag, size, end := readField(b, at)
			if end < 0 {
				t.Fatal("no protobuf")
			}
			if n := tag >> 3; tag&7 == wireBytes && n < uint64(len(otlpMessages[message])) {
				switch f := otlpMessages[message][n]; f.kind {
				case kindString:
					all = append(all, string(b[end-int(size):end]))
				case kindMessage:
					walk(f.of, b[end-int(size):end])
				}
			}
			at = end
		}
	}
	request, _ := requestOf(signal)
	walk(request, body)
	return all
}

func TestEditAllocatesNothing(t *testing.T) {
	body := benchmarkLogs(t)
	dst := make([]byte, 0, 4<<20)
	for name, w := range map[string]*ExportEdit{"nothing": {}, "again": again(), "masked": masked()} {
		w.Record = func() bool { return len(w.Attribute("order.total")) > 0 && w.Level() > 0 }
		w.Look = func(_, _ []byte, _ int) { w.Mark("seen") }
		if n := testing.AllocsPerRun(20, func() { dst, _ = w.Edit(dst, telemetry.Logs, body); dst = dst[:0] }); n != 0 {
			t.Errorf("%s: %v allocations for 1,000 records", name, n)
		}
	}
}

func BenchmarkEdit(b *testing.B) {
	body := benchmarkLogs(b)
	dst := make([]byte, 0, 4<<20)
	asked := masked()
	asked.Text = func(_, _, _ []byte) ([]byte, bool) { return nil, false }
	asked.Value = func(_, _ []byte) ([]byte, bool) { return nil, false }
	for _, tt := range []struct {
		name string
		w    *ExportEdit
	}{{"none", &ExportEdit{}}, {"asked", asked}, {"again", again()}, {"masked", masked()}} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				tt.w.Edit(dst, telemetry.Logs, body)
			}
			b.ReportMetric(math.Round(b.Elapsed().Seconds()*1e9/float64(b.N)/1000), "ns/record")
		})
	}
}

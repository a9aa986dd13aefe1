package wavefront

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	testTrace  = "7b3bf470-9456-11e8-9eb6-529269fb1459"
	testSpan   = "0313bafe-9457-11e8-9eb6-529269fb1459"
	testParent = "2f64e538-9457-11e8-9eb6-529269fb1459"
	testIDs    = ` traceId=` + testTrace + ` spanId=` + testSpan + ` `
	// The two halves of testSpan, XOR: 0313bafe945711e8 ^ 9eb6529269fb1459.
	testHex = "7b3bf470945611e89eb6529269fb1459/9da5e86cfdac05b1"
)

// The lines of section 4C and of the SDK's comments, and what becomes of each.
func TestLines(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"4C's metric", `"foo.metric" 1.2 1533529977 source="test_source" "env"="test"`,
			"gauge foo.metric 1.2 @2018-08-06T04:32:57 env=test source=test_source"},
		{"the seed's", "lambda.example 0.563928", "gauge lambda.example 0.563928 @now"},
		{"the seed's with source", "lambda.example 0.5 source=metric_lambda",
			"gauge lambda.example 0.5 @now source=metric_lambda"},
		{"the SDK's comment", "new-york.power.usage 42422.0 1533531013 source=localhost datacenter=dc1",
			"gauge new-york.power.usage 42422 @2018-08-06T04:50:13 datacenter=dc1 source=localhost"},
		{"milliseconds", "a 1 1533531013123", "gauge a 1 @2018-08-06T04:50:13.123"},
		{"microseconds", "a 1 1533531013123456", "gauge a 1 @2018-08-06T04:50:13.123456"},
		{"seconds with a fraction", "a 1 1533531013.5", "gauge a 1 @2018-08-06T04:50:13.5"},
		{"host is the source", "a 1 host=h", "gauge a 1 @now source=h"},
		{"source and host", "a 1 host=h source=s", "gauge a 1 @now _host=h source=s"},
		{"a tag named tag", "a 1 source=s tag=t", "gauge a 1 @now _tag=t source=s"},
		{"internal", `"~sdk.go.core" 1 source=s`, "gauge ~sdk.go.core 1 @now source=s"},
		{"slash and comma", "a/b,c_d-e.9 -1e3", "gauge a/b,c_d-e.9 -1000 @now"},
		{"tabs, spaces and a carriage return", " a \t 1  k = v \r", "gauge a 1 @now k=v"},
		{"quotes within", `a 1 k="say \"hi\" \n" l='it\'s "x"'`, `gauge a 1 @now k=say "hi" \n l=it's "x"`},
		{"UTF-8 in a value", "a 1 k=żółw", "gauge a 1 @now k=żółw"},
		{"a delta", "\u2206a.b 3 source=s", "counter a.b 3 @now source=s"},
		{"the other delta", "\"\u0394a.b\" 0.5", "counter a.b 0.5 @now"},
		{"an internal delta", "\u2206~a 1", "counter ~a 1 @now"},
		{"4C's histogram", `!M 1533529977 #20 30 "request.latency" source="test_source" "env"="test"`,
			"distribution request.latency 20×30 @2018-08-06T04:32:00+1m0s env=test source=test_source"},
		{"centroids out of order, twice, and none", "!H 1533531013 #10 5.1 #20 30 #1 -2 #2 5.1 #0 9 h k=v",
			"distribution h 1×-2,12×5.1,20×30 @2018-08-06T04:00:00+1h0m0s k=v"},
		{"a day", "!D 1533531013 #1 1 h", "distribution h 1×1 @2018-08-06T00:00:00+24h0m0s"},
		{"a histogram of now", "!M #1 1 h", "distribution h 1×1 @2026-11-24T02:01:00+1m0s"},
		{"the SDK's span", "getAllUsers source=localhost" + testIDs + "parent=" + testParent +
			" application=Wavefront http.method=GET 1533531013 343500",
			"span getAllUsers " + testHex + "<b1d2b7aafdac05b1 @2018-08-06T04:50:13+95h25m0s " +
				"application=Wavefront http.method=GET source=localhost"},
		{"a span in milliseconds", `"get users"` + testIDs + `"_spanLogs"="true" 1533531013123 343`,
			"span get users " + testHex + " @2018-08-06T04:50:13.123+343ms _spanLogs=true"},
		{"a span with its end", "s" + testIDs + "1533531013123 1533531013223",
			"span s " + testHex + " @2018-08-06T04:50:13.123+100ms "},
		{"a span in microseconds", "s" + testIDs + "1533531013123456 7",
			"span s " + testHex + " @2018-08-06T04:50:13.123456+7µs "},
		{"kind, error, a tag twice", "s" + testIDs + "span.kind=client error=true user=a user=b 1533531013123 1",
			"span s " + testHex + " SPAN_KIND_CLIENT STATUS_CODE_ERROR @2018-08-06T04:50:13.123+1ms " +
				"error=true span.kind=client user=[a|b]"},
		{"links", "s" + testIDs + "parent=" + testParent + " parent=" + testSpan + " followsFrom=" + testTrace +
			" 1533531013123 1", "span s " + testHex + "<b1d2b7aafdac05b1 link 9da5e86cfdac05b1 " +
			"opentracing.ref_type=child_of link e58da6e2fdad05b1 opentracing.ref_type=follows_from " +
			"@2018-08-06T04:50:13.123+1ms "},
		{"a padded span id", "s traceId=" + testTrace + " spanId=00000000-0000-0000-0123-456789abcdef 1533531013123 1",
			"span s 7b3bf470945611e89eb6529269fb1459/0123456789abcdef @2018-08-06T04:50:13.123+1ms "},
		{"padded on the right", "s traceId=" + testTrace + " spanId=01234567-89ab-cdef-0000-000000000000 1533531013123 1",
			"span s 7b3bf470945611e89eb6529269fb1459/0123456789abcdef @2018-08-06T04:50:13.123+1ms "},
		{"two equal halves", "s traceId=" + testTrace + " spanId=01234567-89ab-cdef-0123-456789abcdef 1533531013123 1",
			"span s 7b3bf470945611e89eb6529269fb1459/0123456789abcdef @2018-08-06T04:50:13.123+1ms "},
		{"an event", `@Event 1533531013 1533531213 "deploy" severity="info" host="h1" host="h2" tag="env: prod" a=1`,
			`log wavefront.event "deploy" @2018-08-06T04:50:13 a=1 hosts=[h1|h2] severity=info tags=[env: prod] ` +
				"wavefront.event.end_time=1533531213000"},
		{"an event of a moment", "@Event 1533531013000 deploy",
			`log wavefront.event "deploy" @2018-08-06T04:50:13 wavefront.event.end_time=1533531013001`},
		{"source tags", "@SourceTag action=add source=s t1 \"t 2\"",
			"log wavefront.source_tag action=add source=s tags=[t1|t 2]"},
		{"the other order", "@SourceTag source=s action=SAVE t",
			"log wavefront.source_tag action=SAVE source=s tags=[t]"},
		{"a description", `@SourceDescription action=save source=s "my source"`,
			"log wavefront.source_description action=save description=my source source=s"},
		{"no description any more", "@SourceDescription action=delete source=s",
			"log wavefront.source_description action=delete source=s"},
		{"nothing", " \r", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, drops := read(t, tt.line, detect, false)
			if text := strings.Join(got, "\n"); text != tt.want || len(drops) > 0 {
				t.Errorf("got  %s\nwant %s\ndropped %v", text, tt.want, drops)
			}
		})
	}
}

func TestSpanLogs(t *testing.T) {
	line := `{"span":"x","logs":[{"timestamp":1533531013123456,"fields":{"event":"error","n":5,"q":"a\"b"}},` +
		`{"fields":{},"timestamp":1533531013}],"spanId":"` + testSpan + `","traceId":"` + testTrace + `"}`
	want := []string{
		"log wavefront.span_log " + testHex + ` @2018-08-06T04:50:13.123456 event=error n=5 q=a"b`,
		"log wavefront.span_log " + testHex + " @2018-08-06T04:50:13",
	}
	for _, f := range []format{detect, spanLogs} {
		got, drops := read(t, line, f, false)
		if diff := cmp.Diff(want, got); diff != "" || len(drops) > 0 {
			t.Errorf("format %d: %s dropped %v", f, diff, drops)
		}
	}
}

// What a line is refused for; every WF code of 4C that a line can have.
func TestRefused(t *testing.T) {
	tags := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " k%d=v", i)
		}
		return b.String()
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct{ line, reason string }{
		{"a", reasonMalformed},
		{"a b", reasonMalformed},
		{"a 1 b", reasonMalformed},
		{"a 1 b=", reasonMalformed},
		{"a 1 =b", reasonMalformed},
		{"a 1 k==v", reasonMalformed},
		{`a 1 k="v`, reasonMalformed},
		{`"a 1`, reasonMalformed},
		{`a 1 k="v\"`, reasonMalformed},
		{"a NaN", reasonMalformed},
		{"a Infinity", reasonMalformed},
		{"a 0x10", reasonMalformed},
		{"a 1e999", reasonMalformed},
		{"a 1 12x k=v", reasonMalformed},
		{"a 1 99999999999999999999", reasonMalformed},
		{"a 1 k=\x04", reasonMalformed},
		{"a 1 k=\xff", reasonNotUTF8},
		{"a 1 k=" + x(maxLine), reasonTooLarge},
		{"[1]", reasonLogsNotServed},
		{"a! 1", reasonName},
		{`"" 1`, reasonName},
		{"\u2206 1", reasonName},
		{"a~b 1", reasonName},
		{"żółw 1", reasonName},
		{"a 1 k!=v", reasonTagKey},
		{"a 1 ż=v", reasonTagKey},
		{"\u2206a 0", reasonDelta},
		{"\u0394a -1", reasonDelta},
		{"!M #0 1 a", reasonEmptyHisto},
		{"!M #-5 1 a", reasonEmptyHisto},
		{`a 1 source=""`, reasonNoSource},
		{"a 1 source=" + x(1024), reasonSourceLong},
		{x(1024) + " 1", reasonNameLong},
		{"!M #1 1 " + x(1024), reasonHistoLong},
		{"a 1" + tags(101), reasonTags},
		{"a 1 " + x(100) + "=" + x(155), reasonTagLong},
		{`a 1 k=" "`, reasonTagNoValue},
		{"!M a", reasonMalformed},
		{"!M #1 a", reasonMalformed},
		{"!M #1.5 1 a", reasonMalformed},
		{"!M #1 1", reasonMalformed},
		{"!X #1 1 a", reasonMalformed},
		{"!M", reasonMalformed},
		{"s" + testIDs + "* 1 1", reasonMalformed},
		{"s*" + testIDs + "1 1", reasonSpanName},
		{x(129) + testIDs + "1 1", reasonSpanLong},
		{"s" + testIDs + `source="" 1 1`, reasonSpanNoSource},
		{"s" + testIDs + "source=" + x(1024) + " 1 1", reasonSpanSrcLong},
		{"s" + testIDs + tags(21) + " 1 1", reasonSpanTags},
		{"s" + testIDs + x(129) + "=v 1 1", reasonSpanKeyLong},
		{"s" + testIDs + "k!=v 1 1", reasonSpanKey},
		{"s" + testIDs + `k="" 1 1`, reasonSpanNoValue},
		{"s" + testIDs + "1", reasonMalformed},
		{"s" + testIDs + "1 1 1", reasonMalformed},
		{"s" + testIDs + "9223372036854775807 9223372036854775808", reasonMalformed},
		{"s" + testIDs + "99999999999 9223372036854775807", reasonMalformed},
		{"s k=v 1 1", reasonMalformed},
		{"s traceId=7b3bf470945611e89eb6529269fb1459 spanId=" + testSpan + " 1 1", reasonMalformed},
		{"s traceId=00000000-0000-0000-0000-000000000000 spanId=" + testSpan + " 1 1", reasonMalformed},
		{"@Event deploy", reasonMalformed},
		{"@Event 1533531013", reasonMalformed},
		{"@Event 1533531013 deploy k", reasonMalformed},
		{"@Event 1533531013 deploy" + tags(101), reasonTags},
		{"@SourceTag action=add source=s", reasonMalformed},
		{"@SourceTag action=eat source=s t", reasonMalformed},
		{"@SourceTag action=add t", reasonMalformed},
		{"@SourceTag action=add k=v t", reasonMalformed},
		{"@SourceDescription action=save source=s", reasonMalformed},
		{"@SourceDescription action=save source=s a b", reasonMalformed},
		{"@Else 1", reasonName},
		{`{"traceId":"` + testTrace + `","spanId":"x","logs":[]}`, reasonMalformed},
		{`{"traceId":"` + testTrace + `","spanId":"` + testSpan + `","logs":{}}`, reasonMalformed},
		{`{"traceId":"` + testTrace + `","spanId":"` + testSpan + `","logs":[{"timestamp":1},{"timestamp":"x"}]}`,
			reasonMalformed},
		{`{}`, reasonMalformed},
	}
	for _, tt := range tests {
		got, drops := read(t, tt.line, detect, false)
		if len(got) > 0 || len(drops) != 1 || drops[tt.reason] != 1 {
			t.Errorf("%.100q: became %v, dropped %v, want %s", tt.line, got, drops, tt.reason)
		}
	}
}

// What is just within the limits is taken: characters are counted, not bytes.
func TestWithinLimits(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, line := range []string{
		x(1023) + " 1", "!M #1 1 " + x(1023), "a 1 source=" + x(1023), "a 1 " + x(100) + "=" + x(154),
		"a 1 k=" + strings.Repeat("ż", 253), "a 1 k=" + strings.Repeat("😀", 126), x(128) + testIDs + "1 1",
		"s" + testIDs + "source=" + strings.Repeat("ż", 1023) + " 1 1",
		"!M" + strings.Repeat(" #1 1", (maxHistogram-10)/5) + " a",
	} {
		if got, drops := read(t, line, detect, false); len(got) != 1 || len(drops) > 0 {
			t.Errorf("%.40q of %d bytes: %d records, dropped %v", line, len(line), len(got), drops)
		}
	}
	if _, drops := read(t, "a 1 k="+strings.Repeat("😀", 127), detect, false); drops[reasonTagLong] != 1 {
		t.Errorf("127 characters that Java counts twice: dropped %v", drops)
	}
}

// The proxy cuts these; half a secret would not be known as one.
func TestLongSpanTagsStayWhole(t *testing.T) {
	got, drops := read(t, "s"+testIDs+"k="+strings.Repeat("ż", 200)+" 1533531013 1", detect, false)
	if len(got) != 1 || !strings.HasSuffix(got[0], " k="+strings.Repeat("ż", 200)) || len(drops) != 0 {
		t.Errorf("%v, dropped %v", got, drops)
	}
}

// A format that was named is the only one that a line may have.
func TestNamedFormats(t *testing.T) {
	lines := map[format]string{metrics: "a 1", histograms: "!M #1 1 a", traces: "s" + testIDs + "1533531013 1",
		spanLogs: `{"traceId":"` + testTrace + `","spanId":"` + testSpan + `","logs":[{"fields":{}}]}`}
	for _, f := range slices.Sorted(maps.Keys(lines)) {
		for kind, line := range lines {
			got, _ := read(t, line, f, false)
			if want := f == kind; (len(got) == 1) != want {
				t.Errorf("format %d, a line of %d: %q", f, kind, got)
			}
		}
	}
}

func TestMinutePort(t *testing.T) {
	for line, want := range map[string]string{
		"lambda.example 0.5 1533529977 source=s": "distribution lambda.example 1×0.5 @2018-08-06T04:32:00+1m0s source=s",
		"lambda.example 0.5":                     "distribution lambda.example 1×0.5 @2026-11-24T02:01:00+1m0s",
	} {
		if got, drops := read(t, line, detect, true); len(got) != 1 || got[0] != want {
			t.Errorf("%q became %q, dropped %v, want %q", line, got, drops, want)
		}
	}
	for _, line := range []string{"!M #1 1 a", "@Event 1 2 a", `{"traceId":""}`, "[]"} {
		for _, f := range []format{detect, histograms} {
			if got, drops := read(t, line, f, true); len(got) > 0 || drops[reasonNotOnPort] != 1 {
				t.Errorf("%q became %q, dropped %v", line, got, drops)
			}
		}
	}
}

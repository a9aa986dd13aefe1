package pattern_test

import (
	"strings"
	"testing"

	"slipstream/process/pattern"
)

// check is a pattern with lines that it matches and lines that it does not.
type check struct {
	pattern string
	yes, no []string
}

func run(t *testing.T, checks []check) {
	t.Helper()
	for _, c := range checks {
		p, err := pattern.Compile(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, line := range c.yes {
			if !p.Match([]byte(line)) {
				t.Errorf("%s does not match %s", c.pattern, line)
			}
			if !strings.Contains(line, p.Literal()) && !strings.Contains(line, `\`) {
				t.Errorf("%s matches %s, which has no %q", c.pattern, line, p.Literal())
			}
		}
		for _, line := range c.no {
			if p.Match([]byte(line)) {
				t.Errorf("%s matches %s", c.pattern, line)
			}
		}
	}
}

// The examples of AWS's reference, and what it leaves open.
func TestTerms(t *testing.T) {
	bad, unauthorized := "[ERROR 400] BAD REQUEST", "[ERROR 401] UNAUTHORIZED REQUEST"
	missing, invalid := "[ERROR 419] MISSING ARGUMENTS", "[ERROR 420] INVALID ARGUMENTS"
	run(t, []check{
		{"", []string{bad, ""}, nil},
		{"  ", []string{bad}, nil},
		{`" "`, []string{bad, ""}, nil},
		{"ERROR", []string{bad, unauthorized, missing, invalid, "TERROR"}, []string{"error", ""}},
		{"ERROR ARGUMENTS", []string{missing, invalid}, []string{bad, unauthorized}},
		{"?ERROR ?ARGUMENTS", []string{bad, missing, "ARGUMENTS"}, []string{"fine"}},
		{"?ERROR ?ARGUMENTS INVALID", []string{invalid, "INVALID"}, []string{missing}}, // ? is ignored
		{"?ERROR -ARGUMENTS", []string{bad, "fine"}, []string{missing}},
		{"?ONE", []string{"ONE"}, []string{"TWO"}},
		{`"INTERNAL SERVER ERROR"`, []string{"[ERROR 500] INTERNAL SERVER ERROR"}, []string{"INTERNAL ERROR SERVER"}},
		{"ERROR -ARGUMENTS", []string{bad, unauthorized}, []string{missing, invalid}},
		{`-"BAD REQUEST" -"MISSING"`, []string{invalid}, []string{bad, missing}},
		{"%AUTHORIZED%", []string{"[ERROR 401] UNAUTHORIZED REQUEST", "[SUCCESS 200] AUTHORIZED REQUEST"}, []string{bad}},
		{`%\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}%`, []string{"from 10.0.0.1"}, []string{"from nowhere"}},
		{"%[Ee]rror|[Ff]ail%", []string{"Error", "a fail"}, []string{"fine"}},
		{"%^[hc]at%", []string{"hat", "catalogue"}, []string{"that"}},
		{"%[hc]at$%", []string{"hat", "that"}, []string{"hats"}},
		{"%colou?r%", []string{"color", "colour"}, []string{"colouur"}},
		{`%\x41\$\[%`, []string{"A$["}, []string{"A$"}},
		{`ERROR %4\d\d%`, []string{bad}, []string{"ERROR 500"}},
		{`"a \"b\" * \\"`, []string{`a "b" * \`}, []string{`a "b" c \`}},
		{"Fehler_größer", []string{"x Fehler_größer"}, []string{"Fehler_groesser"}},
		{"\tERROR\n", []string{"ERROR"}, nil},
	})
}

const trail = `{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111",
 "arrayKey": ["value", "another value"],
 "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": null, "cluster.name": "c"}`

const people = `{"user": {"id": 1, "email": "John.Stiles@example.com"},
 "users": [{"id": 2, "email": "John.Doe@example.com"}, {"id": 3, "email": "Jane.Doe@example.com"}],
 "actions": ["GET", "PUT", "DELETE"], "coordinates": [[0, 1, 2], [4, 5, 6], [7, 8, 9]]}`

func TestJSON(t *testing.T) {
	run(t, []check{
		{`{ $.eventType = "UpdateTrail" }`, []string{trail, " " + trail + "\n"},
			[]string{people, "eventType=UpdateTrail", "x " + trail, trail + " x", trail[:80], "", "null", `"UpdateTrail"`}},
		{`{ $.eventType = UpdateTrail}`, []string{trail}, []string{people}},
		{"{ $.sourceIPAddress != 123.123.* }", []string{trail}, []string{people}},
		{"{ $.sourceIPAddress != 111.111.* }", nil, []string{trail}},
		{`{ $.arrayKey[0] = "value" }`, []string{trail}, []string{people}},
		{`{ $.arrayKey[1] = "value" }`, nil, []string{trail}},
		{`{ $.arrayKey[2] != "value" }`, nil, []string{trail}},
		{`{ $.arrayKey = "value" }`, nil, []string{trail}}, // ends on an array
		{`{ $.objectList[0] != "x" }`, nil, []string{trail}},
		{`{ $.missing != "x" }`, nil, []string{trail}},
		{"{ $.eventType = %Trail% }", []string{trail}, []string{people}},
		{"{ $.arrayKey[*] = %val.{2}% }", []string{trail}, []string{people}},
		{`{ $.* = %111\.111\.111\.1[0-9]{1,2}% }`, []string{trail}, []string{people}},
		{`{ $.['cluster.name'] = "c" }`, []string{trail}, []string{people}},
		{`{ $['cluster.name'] = "c" }`, []string{trail}, []string{people}},
		{"{ $.SomeObject IS NULL }", []string{trail}, []string{people}},
		{"{ $.SomeOtherObject NOT EXISTS }", []string{trail, people, `{"a":{}}`}, []string{"text"}},
		{"{ $.objectList NOT EXISTS }", []string{people}, []string{trail}},
		{"{ $.flag IS TRUE }", []string{`{"flag":true}`}, []string{`{"flag":"true"}`, `{"flag":false}`, `{}`}},
		{"{ $.flag IS FALSE }", []string{`{"flag":false}`}, []string{`{"flag":0}`}},
		{`{ $.flag = "true" }`, []string{`{"flag":"true"}`}, []string{`{"flag":true}`}},
		{`{ $.objectList[1].name = "b" }`, []string{trail}, nil},
		{"{ $.objectList[*].id = 2 }", []string{trail}, []string{people}},
		{"{ $.bandwidth > 75 }", []string{`{"bandwidth":80}`, `{"bandwidth":"80"}`},
			[]string{`{"bandwidth":75}`, `{"bandwidth":"many"}`, `{"bandwidth":null}`}},
		{"{ $.latency < 50 }", []string{`{"latency":49.5}`}, []string{`{"latency":50}`}},
		{"{ $.refreshRate >= 60 }", []string{`{"refreshRate":60}`}, []string{`{"refreshRate":59}`}},
		{"{ $.responseTime <= 5 }", []string{`{"responseTime":5}`}, []string{`{"responseTime":6}`}},
		{"{ $.errorCode = 400}", []string{`{"errorCode":400}`, `{"errorCode":"400"}`, `{"errorCode":4e2}`}, []string{`{}`}},
		{"{ $.errorCode != 500 }", []string{`{"errorCode":400}`}, []string{`{"errorCode":500}`}},
		{"{ $.number[0] = 1e+3 }", []string{`{"number":[1000]}`}, []string{`{"number":1000}`}},
		{"{ $.number[0] != 1e-3 }", []string{`{"number":[1000]}`}, []string{`{"number":[0.001]}`}},
		{"{ $.n = -2 }", []string{`{"n":-2.0}`}, []string{`{"n":2}`}},
		{"{ $.errorCode = 4* }", []string{`{"errorCode":404}`}, []string{`{"errorCode":504}`}},
		{"{ $.a = * }", []string{`{"a":""}`, `{"a":0}`}, []string{`{"a":null}`, `{"a":{}}`, `{}`}},
		{`{ $.a = "x\"y\*" }`, []string{`{"a":"x\"y*"}`, `{"a":"x\u0022y*"}`}, []string{`{"a":"x\"yz"}`}},
		{`{ $.coordinates[1][2] = 6 }`, []string{people}, []string{trail}},
		{`{ $.coordinates[*][0] = 4 }`, []string{people}, []string{trail}},
		{`{ $.a = "*ab*ab*" }`, []string{`{"a":"xabab"}`}, []string{`{"a":"ab"}`, `{"a":"xaby"}`}},
		{`{ $.a = "aba*aba" }`, []string{`{"a":"abaaba"}`}, []string{`{"a":"aba"}`, `{"a":"ababa"}`}},
		{`{ $.a = 1 }`, []string{`{"a":1,"a":2}`}, []string{`{"a":2,"a":1}`}},
	})
}

func TestJSONLogic(t *testing.T) {
	run(t, []check{
		{`{ ($.user.id = 1) && ($.users[0].email = "John.Doe@example.com") }`, []string{people}, []string{trail}},
		// && binds more than ||.
		{`{ $.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "no" && $.actions[2] = "no" }`,
			[]string{people}, nil},
		{`{ ($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "no") && $.actions[2] = "no" }`,
			nil, []string{people}},
		{`{ ($.user.id = 2 && $.users[0].email = "no") || $.actions[2] = "GET" }`, nil, []string{people}},
		{`{$.user.id=1&&$.actions[1]="PUT"}`, []string{people}, nil},
		{`{ (($.user.id = 2) || (($.actions[0] = "GET"))) }`, []string{people}, nil},
		{"{ $.users[*].id = 2 || $.actions[*] = \"GET\" || $.coordinates[*][0] = 4 }", []string{people}, nil},
		// What the benchmark of the Center for Internet Security has people set up.
		{`{ ($.errorCode = "*UnauthorizedOperation") || ($.errorCode = "AccessDenied*") }`,
			[]string{`{"errorCode":"Client.UnauthorizedOperation"}`, `{"errorCode":"AccessDeniedException"}`},
			[]string{`{"errorCode":"Denied"}`, `{}`}},
		{`{ ($.eventName = "ConsoleLogin") && ($.additionalEventData.MFAUsed != "Yes") }`,
			[]string{`{"eventName":"ConsoleLogin","additionalEventData":{"MFAUsed":"No"}}`},
			[]string{`{"eventName":"ConsoleLogin","additionalEventData":{"MFAUsed":"Yes"}}`}},
		{`{ $.userIdentity.type = "Root" && $.userIdentity.invokedBy NOT EXISTS && $.eventType != "AwsServiceEvent" }`,
			[]string{`{"userIdentity":{"type":"Root"},"eventType":"AwsConsoleSignIn"}`},
			[]string{`{"userIdentity":{"type":"Root","invokedBy":"x"},"eventType":"AwsConsoleSignIn"}`}},
	})
}

const (
	apache = `127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534`
	gif    = `127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache_pb.gif HTTP/1.0" 200 1534`
	metric = "[METRIC] 2018-05-15T11:18:19.297Z aba1328d-5831-11e8-833f-b5cd5e8c0a59 random_number 0.563928"
)

func TestFields(t *testing.T) {
	run(t, []check{
		{"[]", []string{apache, ""}, nil},
		{"[a]", []string{apache, "x"}, []string{"", "  "}},
		{"[ip, user, username, timestamp, request, status_code, bytes]", []string{apache, gif}, []string{metric}},
		{"[ip, user, username, timestamp, request, status_code=4*, bytes]", []string{apache}, []string{gif}},
		{"[ip, user, username, timestamp, request, status_code=4*, bytes > 1000]", []string{apache}, []string{gif}},
		{"[ip, user, username, timestamp, request, status_code, bytes > 2000]", nil, []string{apache}},
		{"[ip, id, user, timestamp, request, status_code=404, size]", []string{apache}, []string{gif}},
		{"[ip, user, username, timestamp, request = *html*, status_code = 4*, bytes]", []string{apache}, []string{gif}},
		{`[ip=%127\.0\.0\.[1-9]%, user, username, timestamp, request =*.html*, status_code = 4*, bytes]`,
			[]string{apache}, []string{gif}},
		{"[..., request =*.html*, status_code = 4*, bytes]", []string{apache}, []string{gif}},
		{"[..., request =*.html*, status_code = 4*,]", []string{apache}, []string{gif}},
		{"[ip, user, username, timestamp, request =*.html*, status_code = 404 || status_code = 410, bytes]",
			[]string{apache}, []string{gif}},
		{"[..., bytes]", []string{apache, "x"}, []string{""}},
		{"[ip, ..., bytes = 1534]", []string{apache}, []string{"1534", metric}},
		{"[ip, user, ...]", []string{apache}, []string{"one"}},
		{"[a, b, c, d, e, f, g, h]", nil, []string{apache}},
		{"[a, b, c, d, e, f, g, h, ...]", nil, []string{apache}},
		{"[w1=ERROR]", []string{"ERROR"}, []string{"ERROR 09/25/2014"}}, // the last field takes the rest
		{"[w1=ERROR, w2]", []string{"ERROR 09/25/2014 12:00:02 Failed", "ERROR\t \tx"}, []string{"INFO x", "ERROR"}},
		{"[w1=ERROR || w1=%WARN%, w2]", []string{"WARNING 09/25/2014", "ERROR x"}, []string{"INFO x"}},
		{"[w1!=ERROR&&w1!=WARNING, w2]", []string{"INFO x"}, []string{"ERROR x", "WARNING x"}},
		{"[(w1=A || w1=B) && w1!=B, w2]", []string{"A x"}, []string{"B x"}},
		{"[logLevel, date, time, method, url=%/service/resource/[0-9]+$%, response_time]",
			[]string{"INFO 09/25/2014 12:00:00 GET /service/resource/67 1200"},
			[]string{"INFO 09/25/2014 12:00:01 POST /service/resource/67/part/111 1310"}},
		{`[version, account, eni, source, destination, srcport, destport="22", protocol="6", packets, bytes,
			windowstart, windowend, action="REJECT", flowlogstatus]`,
			[]string{"2 123456789010 eni-1 10.0.0.1 10.0.0.2 20641 22 6 20 4249 1418530010 1418530070 REJECT OK"},
			[]string{"2 123456789010 eni-1 10.0.0.1 10.0.0.2 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"}},
		{"[date, time, sip, method, uri, query, port, user, cip, agent, referer, status=5*, ...]",
			[]string{"2024-01-01 00:00:00 10.0.0.1 GET /x - 80 - 10.0.0.2 Mozilla/5.0+(X) - 500 0 0 15"},
			[]string{"2024-01-01 00:00:00 10.0.0.1 GET /x - 80 - 10.0.0.2 Mozilla/5.0+(X) - 200 0 0 15"}},
		{"[level=METRIC, timestamp, request_id, metric_name, metric_value]", []string{metric}, []string{apache}},
		{`[..., request="GET /index.html HTTP/1.0", s, b]`, []string{apache}, []string{gif}},
		{"[..., s >= 400 && s < 500, b]", []string{apache}, []string{gif, "a text b"}},
	})
}

func TestValue(t *testing.T) {
	tests := []struct{ pattern, line, selector, want string }{
		{"[level=METRIC, timestamp, request_id, metric_name, metric_value]", metric, "$metric_name", "random_number"},
		{"[level=METRIC, timestamp, request_id, metric_name, metric_value]", metric, "$metric_value", "0.563928"},
		{"[level=METRIC, timestamp, request_id, metric_name, metric_value]", metric, "$1", "METRIC"},
		{"[ip, user, rest]", apache, "$rest", `frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534`},
		{"[ip, u, n, timestamp, request, s, b]", apache, "$timestamp", "10/Oct/2000:13:25:15 -0700"},
		{"[ip, u, n, timestamp, request, s, b]", apache, "$5", "GET /index.html HTTP/1.0"},
		{"[..., size]", gif, "$size", "1534"},
		{"[..., size]", gif, "$3", "frank"},
		{"[..., size]", gif, "$9", "(none)"},
		{"[]", gif, "$7", "1534"},
		{"[a, ..., size]", gif, "$a", "127.0.0.1"},
		{"[..., request=*.html*, status_code=4*,]", apache, "$7", "1534"},
		{"[a, b]", `"x \"y" [never closed`, "$a", `x \"y`},
		{"[a, b]", `"never closed [x y]`, "$a", `"never`},
		{"[a, b]", "[x]y  z \n", "$b", "y  z"},
		{"[a, b]", `x "y z" w`, "$b", `"y z" w`},
		{"[a, b]", `x "y z"`, "$b", "y z"},
		{`{ $.eventType = * }`, trail, "$.eventType", "UpdateTrail"},
		{`{ $.eventType = * }`, trail, "$.objectList[1].id", "2"},
		{`{ $.eventType = * }`, trail, "$.['cluster.name']", "c"},
		{`{ $.eventType = * }`, trail, "$.objectList", "(none)"},
		{`{ $.eventType = * }`, trail, "$.SomeObject", "(none)"},
		{`{ $.eventType = * }`, trail, "$.no", "(none)"},
		{`{ $.a = * }`, `{"a":"x\n\u00e9","b":true}`, "$.a", "x\né"},
		{`{ $.a = * }`, `{"a":"x\n\u00e9","b":true}`, "$.b", "true"},
	}
	for _, tt := range tests {
		p, err := pattern.Compile(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Selector(tt.selector)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		if !p.Match([]byte(tt.line)) {
			t.Errorf("%s does not match %s", tt.pattern, tt.line)
			continue
		}
		got, ok := p.Value(s)
		if !ok {
			got = []byte("(none)")
		}
		if string(got) != tt.want {
			t.Errorf("%s of %s is %q, want %q", tt.selector, tt.line, got, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{"a.b", "column 2: a term of anything but letters"},
		{"ERROR -", "column 8: a term of anything but"},
		{`"open`, "column 1: the closing quote"},
		{`"a""b"`, "column 4: a space is missing"},
		{"%open", "column 1: the closing %"},
		{"%%", "column 1: the regular expression is empty"},
		{"%something!%", "column 11: a regular expression has letters"},
		{"%a b%", "column 3: a regular expression has letters"},
		{"%é%", "column 2: a regular expression has letters"},
		{"%(a)%", "column 2: parentheses are not supported"},
		{`%a\b%`, "column 3: this escape is not supported"},
		{`%\x4%`, "column 2: this escape is not supported"},
		{`%\%`, "column 2: this escape is not supported"},
		{"%[a%", "column 2: error parsing regexp: missing closing ]"},
		{"%a{2001}%", "column 2: error parsing regexp"},
		{"%a{900}b{900}c{900}d{900}e{900}%", "column 2: the regular expression is too large"},
		{`%a% %b% %c%`, "column 9: a pattern has at most 2 regular expressions"},
		{`-" "`, "column 1: a phrase of spaces only"},
		{strings.Repeat("a", 1025), "column 1025: a pattern has at most 1024 characters"},
		{"{}", "column 2: a JSON pattern needs a condition"},
		{"{ $.a = }", "column 9: a value is missing"},
		{"{ $.a }", "column 7: an operator is missing"},
		{"{ $.a = 1", "column 10: &&, || or the closing }"},
		{"{ $.a = 1 } trailing", "column 13: the pattern ends with }"},
		{"{ a = 1 }", "column 3: a selector begins with $"},
		{"{ $ = 1 }", "column 3: the selector names nothing"},
		{"{ $.a == 1 }", "column 7: == is not an operator"},
		{"{ $.a = 1 && }", "column 14: a selector begins with $"},
		{"{ ($.a = 1 }", "column 12: a ) is missing for the ( at column 3"},
		{"{ $.a IS MAYBE }", "column 10: IS goes with"},
		{"{ $.a IS NOT NULL }", "column 10: IS goes with NULL, TRUE or FALSE: there is no IS NOT"},
		{"{ $.a EXISTS }", "column 7: an operator is missing"},
		{"{ $.a[x] = 1 }", "column 6: an element is [0]"},
		{"{ $.x[99999999999999999999] = 1 }", "column 6: an element"},
		{"{ $.['a = 1 }", "column 4: the name's closing '] is missing"},
		{"{ $. = 1 }", "column 5: a name is missing"},
		{`{ $.a = "open }`, "column 9: the closing quote"},
		{`{ $.a > "1" }`, "column 9: > compares numbers only"},
		{"{ $.a > 4* }", "column 9: > compares numbers only"},
		{`{ $.a = x"y" }`, `column 10: " belongs around the whole value`},
		{"{ $.*[*] = 1 }", "column 3: a selector has at most one wildcard"},
		{"{ $.a[*]=1 || $.b[*]=1 || $.c[*]=1 || $.d[*]=1 }", "column 1: a pattern has at most 3 selectors"},
		{"{ $.a=%a% || $.b=%b% || $.c=%c% }", "column 29: a pattern has at most 2 regular"},
		{"[a", "column 3: a comma or the closing ]"},
		{"[a] b", "column 5: the pattern ends with ]"},
		{"[..., a, ...]", `column 10: two "..."`},
		{"[a, a]", "column 5: two fields have the name a"},
		{"[a=1 || b=2]", "column 9: the conditions on field a are about b"},
		{"[a = ]", "column 6: a value is missing"},
		{"[a b]", "column 4: an operator is missing"},
		{"[=1]", "column 2: a field's name is missing"},
		{"[a > x]", "column 6: > compares numbers only"},
		{"[a=1 &]", "column 6: a comma or the closing ]"},
	}
	for _, tt := range tests {
		if _, err := pattern.Compile(tt.pattern); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.pattern, err, tt.want)
		}
	}
}

func TestSelectorErrors(t *testing.T) {
	tests := []struct{ pattern, selector, want string }{
		{"ERROR", "$a", "a pattern of terms has no values"},
		{"[a, b]", "$c", "has no field c: its fields are a, b"},
		{"[a, b]", "$3", "has 2 fields"},
		{"[a, b]", "a", "a field is $name"},
		{"[...]", "$0", "has no field 0"},
		{"{ $.a = 1 }", "a", "a selector begins with $"},
		{"{ $.a = 1 }", "$.a b", "column 4: the selector ends here"},
		{"{ $.a = 1 }", "$.a[*]", "a value has no wildcard"},
	}
	for _, tt := range tests {
		p, err := pattern.Compile(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Selector(tt.selector); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of %s: error %v, want one with %q", tt.selector, tt.pattern, err, tt.want)
		}
	}
}

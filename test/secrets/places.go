package secrets

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// plant puts a text into the place of a number: the places come in turn.
func (d dice) plant(secret string, number int) Case {
	quoted := `"` + escaped(secret) + `"`
	text := func(place, body string) Case { return Case{Place: place, Body: []byte(body)} }
	value := func(place, body string) Case { return Case{Place: place, Form: JSON, Body: []byte(body)} }
	inner := `{"id":7,"note":` + quoted + `,"list":[1,{"x":` + quoted + `}]}`
	deep, _ := json.Marshal(`{"outer":` + string(must(json.Marshal(inner))) + `}`)
	places := []func() Case{
		func() Case { return text("message", d.prose(3)+" "+secret+" "+d.prose(2)) },
		func() Case { return text("alone", secret) },
		func() Case { return text("start", secret+" "+d.prose(2)) },
		func() Case { return text("end", d.prose(2)+": "+secret) },
		func() Case { return text("brackets", d.prose(1)+" ("+secret+"), ["+secret+"]") },
		func() Case { return text("between scripts", "ключ→"+secret+"→ключ") },
		func() Case {
			return text("logfmt", "level=info msg="+strconv.Quote(d.prose(2))+" note="+strconv.Quote(secret)+" n=1")
		},
		func() Case { return text("Go map", "map[id:7 note:"+secret+" zone:eu]") },
		func() Case { return text("Python dict", "{'id': 7, 'note': '"+escaped(secret)+"', 'zone': None}") },
		func() Case { return text("Java map", "Event{id=7, note="+secret+", zone=eu}") },
		func() Case { return text("JSON in text", "INFO got "+inner+" "+d.prose(1)) },
		func() Case { return text("cut JSON", `{"id":7,"note":`+quoted+`,"zo`) },
		func() Case { return text("lines", d.prose(2)+"\n"+secret+"\n"+d.prose(1)) },
		func() Case { return text("escaped twice", "sent "+string(deep)) },
		func() Case { return value("string", quoted) },
		func() Case { return value("nested", `{"level":"INFO","detail":`+inner+`,"ok":true}`) },
		func() Case { return value("JSON in a string", string(must(json.Marshal(inner)))) },
		func() Case { return value("JSON in JSON in a string", string(deep)) },
		func() Case { return value("escaped", `{"note":"`+d.prose(1)+` `+d.unicode(secret)+`"}`) },
		func() Case { return value("a key", `{"by":{`+quoted+`:3}}`) },
		func() Case { return value("a cut value", `{"level":"INFO","note":`+quoted+`,"more":{"a`) },
		func() Case { return value("headers", `{"headers":{"host":"a.example","x-note":[`+quoted+`]}}`) },
		func() Case { return value("several", `[`+quoted+`,"`+d.prose(1)+`",`+quoted+`]`) },
		func() Case {
			return value("a line of text", string(must(json.Marshal(d.prose(2)+"\t"+secret+"\n"+d.prose(1)))))
		},
		func() Case { return Case{Place: "attribute", Form: Value, Key: "app.note", Body: []byte(secret)} },
		func() Case { return Case{Place: "header", Form: Value, Key: "X-Note", Body: []byte("v1; " + secret)} },
		func() Case { return text("query", "GET /find?a=1&note="+query(secret)+"&b=2 HTTP/1.1") },
	}
	return places[number%len(places)]()
}

// query is text as browsers and clients put it into a query: what it must not
// have there is escaped.
func query(text string) string {
	if strings.ContainsAny(text, " \n\"") || strings.Contains(text, "://") {
		return url.PathEscape(strings.NewReplacer("\n", " ").Replace(text))
	}
	return text
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err) // a string always can be
	}
	return b
}

// keyed plants a value that only its key makes a secret.
func (d dice) keyed(number int) Case {
	key := d.mixed(pick(d, []string{"password", "passphrase", "db_password", "secret", "client_secret", "apiKey",
		"api-key",
		"x-api-key", "credentials", "Authorization", "SessionToken", "Signature", "private_key", "userPass",
		"X-Amz-Security-Token", "access_token", "secretAccessKey"}))
	simple := d.of(alnum, 10+d.IntN(20))
	hard := d.of(alnum+`!#$%*+./:;?@^_~{}()`, 12) + d.of(alnum, 3)
	quotedHard := d.of(alnum+` !"'\,;&<>=}]`, 12) + d.of(alnum, 3)
	made := d.keyedText(key, simple, hard, quotedHard)
	made = append(made, d.keyedJSON(key, simple, quotedHard)...)
	c := made[number%len(made)]
	c.Kind = "key"
	return c
}

func (d dice) keyedText(key, simple, hard, quotedHard string) []Case {
	text := func(place, secret, body string) Case {
		return Case{Place: place, Secret: secret, Body: []byte(body)}
	}
	python := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(quotedHard)
	inner := `{"a":1,"` + key + `":"` + escaped(quotedHard) + `","b":[2]}`
	return []Case{
		text("logfmt", simple, "level=info "+key+"="+simple+" n=1"),
		text("logfmt, signs", hard, "level=info "+key+"="+hard+" n=1"),
		text("logfmt, quoted", quotedHard, "level=info "+key+"="+strconv.Quote(quotedHard)+" n=1"),
		text("colon", simple, d.prose(1)+" "+key+": "+simple),
		text("query", simple, "GET /login?a=1&"+key+"="+simple+"&b=2 HTTP/1.1"),
		text("query in a query", simple, "GET /?next=%2Fa%3F"+key+"%3D"+simple+"%26b%3D1 HTTP/1.1"),
		text("Go map", simple, "map[a:1 "+key+":"+simple+" z:2]"),
		text("Go struct", simple, "{ID:7 "+key+":"+simple+" Z:2}"),
		text("Go map in a map", simple, "map[a:1 "+key+":map[x:"+simple+" y:1] z:2]"),
		text("Python dict", quotedHard, "{'a': 1, '"+key+"': '"+python+"', 'z': None}"),
		text("Python bytes", simple, "{'a': 1, b'"+key+"': b'"+simple+"'}"),
		text("Python headers", simple, "[('Host', 'a.example'), ('"+key+"', '"+simple+"')]"),
		text("Java map", simple, "{a=1, "+key+"="+simple+", z=2}"),
		text("Java record", simple, "User["+key+"="+simple+", z=2]"),
		text("Ruby hash", simple, `{:a=>1, :`+key+`=>"`+simple+`"}`),
		text("PHP array", simple, "Array ( [a] => 1 ["+key+"] => "+simple+" )"),
		text("XML", simple, "<user><"+key+">"+simple+"</"+key+"></user>"),
		text("flag", simple, "running tool --"+key+" "+simple+" --verbose"),
		text("header lines", simple, "Host: a.example\r\n"+key+": "+simple+"\r\nAccept: */*"),
		text("scheme", simple, key+": Bearer "+simple),
		text("YAML", quotedHard, "a: 1\n"+key+": \""+escaped(quotedHard)+"\"\nb: 2"),
		text("JSON in text", quotedHard, "INFO got "+inner+" end"),
		text("JSON in a string in text", quotedHard, "INFO got "+string(must(json.Marshal(inner)))),
		text("cut JSON", quotedHard, "INFO got "+inner[:len(inner)-1]),
		text("cut value", simple, `INFO got {"a":1,"`+key+`":"`+simple),
		text("cut JSON in a string", quotedHard, `INFO got {"body":"`+escaped(inner)+`","x`),
		text("cut JSON twice in a string", simple,
			`{"body":"`+escaped(`{"b":"`+escaped(`{"`+key+`":"`+simple+`"}`)+`"}`)+`","x`),
		text("cut, escaped", simple, `INFO {"body":"`+d.unicode(key+"="+simple)+`","x`),
		text("ends", simple, d.prose(2)+" "+key+"="+simple),
		text("between scripts", simple, "ключ→"+key+"="+simple+" →ключ"),
	}
}

func (d dice) keyedJSON(key, simple, quotedHard string) []Case {
	value := func(place, secret, body string) Case {
		return Case{Place: place, Form: JSON, Secret: secret, Body: []byte(body)}
	}
	quoted := `"` + escaped(quotedHard) + `"`
	inner := `{"a":1,"` + key + `":` + quoted + `,"b":[2]}`
	number := d.of(digits[1:], 9)
	return []Case{
		value("member", quotedHard, inner),
		value("nested", quotedHard, `{"x":{"y":[1,`+inner+`]}}`),
		value("object", simple, `{"x":{"`+key+`":{"u":"bob","p":["`+simple+`"]}}}`),
		value("number", number, `{"`+key+`":`+number+`}`),
		value("array", simple, `{"`+key+`":["`+simple+`","`+simple+`"]}`),
		value("JSON in a string", quotedHard, `{"body":`+string(must(json.Marshal(inner)))+`}`),
		value("JSON in JSON in a string", quotedHard,
			string(must(json.Marshal(`{"body":`+string(must(json.Marshal(inner)))+`}`)))),
		value("escaped key", simple, `{"`+d.unicode(key)+`": "`+simple+`"}`),
		value("spaced key", simple, `{"the `+key+` of it" : "`+simple+`"}`),
		value("escaped", simple, `{"log":"`+d.unicode("a=1 "+key+"="+simple+" b=2")+`"}`),
		value("HTML-safe", simple, `{"log":"\u003cb\u003e`+key+`\u003d`+simple+`\u0026a\u003d1"}`),
		value("name and value", simple, `{"env":[{"name":"`+key+`","value":"`+simple+`"}]}`),
		value("OTLP", simple, `{"attributes":[{"key":"`+key+`","value":{"stringValue":"`+simple+`"}}]}`),
		value("text", simple, string(must(json.Marshal("x\n"+key+"="+simple+"\ty")))),
		value("cut", simple, `{"a":[1,{"`+key+`":"`+simple+`"},`),
		value("pretty", simple, "{\n  \"a\": 1,\n  \""+key+"\": \""+simple+"\"\n}"),
		{Place: "header", Form: Value, Key: key, Secret: simple, Body: []byte(simple)},
		{Place: "attribute", Form: Value, Key: fmt.Sprintf("http.request.header.%s", key), Secret: simple,
			Body: []byte(simple)},
		{Place: "attribute of text", Form: Value, Key: "db.statement", Secret: simple,
			Body: []byte("x " + key + "=" + simple)},
	}
}

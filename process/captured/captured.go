// Package captured tells which attributes hold what instrumentation has captured
// of a call: the host it went to, its address, headers and bodies. Use it where
// such values are treated unlike others; the names are one table.
package captured

import (
	"bytes"
)

// Part is what of a call an attribute holds.
type Part uint8

// The parts. An address that names its host is a URL. From Query on they grow
// with what the user sends.
const (
	Nothing Part = iota
	Host
	URL
	Path
	Query // alone, or with its path
	Header
	Body
)

// names are OpenTelemetry's of today and of before 1.21, AWS's and those that
// Lumigo's distributions of OpenTelemetry write.
var names = map[string]Part{
	"server.address": Host, "http.host": Host, "net.peer.name": Host, "net.sock.peer.name": Host, "url.domain": Host,
	"peer.hostname": Host,

	"url.full": URL, "http.url": URL, "url": URL, "url.original": URL, "http.uri": URL, "uri": URL,

	"url.path": Path, "http.path": Path, "url.query": Query, "http.query": Query, "http.target": Query,

	"http.request.header": Header, "http.response.header": Header, "http.request.headers": Header,
	"http.response.headers": Header, "rpc.grpc.request.metadata": Header, "rpc.grpc.response.metadata": Header,
	"rpc.connect_rpc.request.metadata": Header, "rpc.connect_rpc.response.metadata": Header,
	"messaging.headers": Header,

	"http.request.body": Body, "http.response.body": Body, "http.request.body.text": Body,
	"http.response.body.text": Body, "http.request.body.content": Body, "http.response.body.content": Body,
	"rpc.request.body": Body, "rpc.response.body": Body, "rpc.request.payload": Body, "rpc.response.payload": Body,
	"rpc.payload": Body, "messaging.message.body": Body, "messaging.message.payload": Body,
	"messaging.publish.body": Body, "messaging.consume.body": Body, "db.response.body": Body, "db.query.parameter": Body,
	"aws.request.body": Body, "aws.response.body": Body, "faas.event": Body, "faas.payload": Body, "faas.result": Body,
	"faas.return_value": Body, "aws.lambda.event": Body, "aws.lambda.result": Body, "aws.lambda.response": Body,
	"aws.lambda.return_value": Body, "lambda.event": Body, "lambda.response": Body,
}

// Of tells what the attribute of that name holds, also for the path of a value
// within it. The size of a body is no body.
func Of(path []byte) Part {
	if part, ok := names[string(path)]; ok {
		return part
	}
	if bytes.HasSuffix(path, []byte(".size")) {
		return Nothing
	}
	for at := len(path) - 1; at > 0; at-- {
		if path[at] != '.' {
			continue
		}
		if part := names[string(path[:at])]; part >= Header {
			return part
		}
	}
	return Nothing
}

// HostOf is the host of a URL, or of host and port; IPv6's has no brackets.
func HostOf(text []byte) []byte {
	if _, rest, ok := bytes.Cut(text, []byte("://")); ok {
		text = rest
	}
	if end := bytes.IndexAny(text, "/?#"); end >= 0 {
		text = text[:end]
	}
	if at := bytes.LastIndexByte(text, '@'); at >= 0 {
		text = text[at+1:]
	}
	if len(text) > 0 && text[0] == '[' {
		host, _, _ := bytes.Cut(text[1:], []byte("]"))
		return host
	}
	if port := bytes.LastIndexByte(text, ':'); port >= 0 && bytes.Count(text, []byte(":")) == 1 {
		text = text[:port]
	}
	return text
}

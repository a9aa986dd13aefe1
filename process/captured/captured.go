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
	RequestHeader
	ResponseHeader
	RequestBody
	ResponseBody
)

// names are OpenTelemetry's of today and of before 1.21, AWS's and those that
// Lumigo's distributions of OpenTelemetry write.
var names = map[string]Part{
	"server.address": Host, "http.host": Host, "net.peer.name": Host, "net.sock.peer.name": Host, "url.domain": Host,
	"peer.hostname": Host,

	"url.full": URL, "http.url": URL, "url": URL, "url.original": URL, "http.uri": URL, "uri": URL,

	"url.path": Path, "http.path": Path, "url.query": Query, "http.query": Query, "http.target": Query,

	"http.request.header": RequestHeader, "http.response.header": ResponseHeader,
	"http.request.headers": RequestHeader, "http.response.headers": ResponseHeader,
	"rpc.grpc.request.metadata": RequestHeader, "rpc.grpc.response.metadata": ResponseHeader,
	"rpc.connect_rpc.request.metadata": RequestHeader, "rpc.connect_rpc.response.metadata": ResponseHeader,
	"messaging.headers": RequestHeader,

	"http.request.body": RequestBody, "http.response.body": ResponseBody,
	"http.request.body.text": RequestBody, "http.response.body.text": ResponseBody,
	"http.request.body.content": RequestBody, "http.response.body.content": ResponseBody,
	"rpc.request.body": RequestBody, "rpc.response.body": ResponseBody, "rpc.payload": RequestBody,
	"rpc.request.payload": RequestBody, "rpc.response.payload": ResponseBody,
	"messaging.message.body": RequestBody, "messaging.message.payload": RequestBody,
	"messaging.publish.body": RequestBody, "messaging.consume.body": RequestBody,
	"db.query.parameter": RequestBody, "db.response.body": ResponseBody,
	"aws.request.body": RequestBody, "aws.response.body": ResponseBody,
	"faas.event": RequestBody, "faas.payload": RequestBody, "faas.result": ResponseBody,
	"faas.return_value": ResponseBody,
	"aws.lambda.event":  RequestBody, "aws.lambda.result": ResponseBody, "aws.lambda.response": ResponseBody,
	"aws.lambda.return_value": ResponseBody, "lambda.event": RequestBody, "lambda.response": ResponseBody,
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
		if part := names[string(path[:at])]; part >= RequestHeader {
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

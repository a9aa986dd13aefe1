package redact

import (
	"bytes"
	"regexp"
	"strings"
)

// keyWords are the words that, anywhere in a key, make its value a secret:
// Lumigo's defaults, as its tracers for Node.js and Python have them, without
// those that another one contains. Whole ones must be all of a member of the key.
var keyWords = []struct {
	text  string
	whole bool
	why   string
}{
	{"pass", false, "Lumigo: .*pass.*, .*passphrase.*"},
	{"key", false, "Lumigo: .*key.*"},
	{"secret", false, "Lumigo: .*secret.*"},
	{"credential", false, "Lumigo: .*credential.*, Credential"},
	{"sessiontoken", false, "Lumigo: SessionToken"},
	{"x-amz-security-token", false, "Lumigo: x-amz-security-token"},
	{"signature", false, "Lumigo: Signature"},
	{"authorization", false, "Lumigo: Authorization"},
	{"access_token", false, "OAuth 2.0"}, {"accesstoken", false, "OAuth 2.0"}, {"access-token", false, "OAuth 2.0"},
	{"refresh_token", false, "OAuth 2.0"}, {"refreshtoken", false, "OAuth 2.0"},
	{"id_token", false, "OpenID Connect"}, {"idtoken", false, "OpenID Connect"},
	{"auth_token", false, "a habit"}, {"authtoken", false, "a habit"}, {"auth-token", false, "a habit"},
	{"session_token", false, "AWS in snake case"}, {"security_token", false, "AWS in snake case"},
	{"cookie", true, "RFC 6265: sessions"}, {"set-cookie", true, "RFC 6265: sessions"},
	{"set_cookie", true, "RFC 6265: sessions"}, {"pwd", true, "a habit, and Pwd= of connection strings"},
}

// exemption is a key that the words hit and that holds no secret.
type exemption struct {
	form exemptionForm
	text string // in lower case, but for aMember
	why  string
}

type exemptionForm uint8

const (
	aMember  exemptionForm = iota // a whole member of the key, in just this case
	aTail                         // the key's last members
	aBranch                       // a member, and all below it
	aWord                         // before|word: both together, with _ or - between them or not
	anEnding                      // word|after: what follows the word, in the same way
)

// exemptions are applied by default; each can be taken back by its text. Values
// of exempt keys are still searched for secrets.
var exemptions = []exemption{
	{aMember, "Key", "DynamoDB GetItem, S3 and tags; Lumigo's Python tracer exempts it"},
	{aMember, "Keys", "DynamoDB BatchGetItem and streams"},
	{aMember, "PartitionKey", "Kinesis; Lumigo's Python tracer exempts it"},
	{aMember, "HashKey", "DynamoDB: the name of an attribute"},
	{aMember, "ExclusiveStartKey", "DynamoDB: a page"},
	{aMember, "LastEvaluatedKey", "DynamoDB: a page"},
	{aMember, "KeyConditionExpression", "DynamoDB: names and placeholders"},
	{aMember, "KeySchema", "DynamoDB: names of attributes"},
	{aMember, "KeyMarker", "S3: a page"}, {aMember, "NextKeyMarker", "S3: a page"},
	{aMember, "MaxKeys", "S3: a number"}, {aMember, "KeyCount", "S3: a number"},
	{aMember, "KeyId", "KMS: a name, not the key"}, {aMember, "keyId", "a name, not the key"},
	{aMember, "kmsKeyId", "KMS: a name, not the key"},
	{aMember, "KMSKeyId", "KMS: a name, not the key"}, {aMember, "SSEKMSKeyId", "KMS: a name, not the key"},
	{aMember, "kmsKeyArn", "KMS: a name, not the key"}, {aMember, "KmsKeyArn", "KMS: a name, not the key"},
	{aMember, "treatMissingKeysAs", "S3 Batch Operations: a word"},
	{aMember, "apiKeyId", "API Gateway: a name, not the key"},
	{aMember, "PWD", "the environment's working directory"},
	{aTail, "object.key", "S3 events: records[].s3.object.key, detail.object.key"},
	{aTail, "object.urldecodedkey", "S3 events: the same, decoded"},
	{aTail, "requestparameters.key", "CloudTrail: an S3 object's name"},
	{aTail, "aws.s3.key", "semantic conventions: an object's name"},
	{aTail, "messaging.kafka.message.key", "semantic conventions: a partition's choice"},
	{aTail, "messaging.rabbitmq.destination.routing_key", "semantic conventions: a topic"},
	{aTail, "feature_flag.key", "semantic conventions: a flag's name"},
	{aTail, "x-amz-server-side-encryption-aws-kms-key-id", "S3: a name, not the key"},
	{aTail, "sec-websocket-key", "RFC 6455: a nonce of the handshake"},
	{aBranch, "lumigo_execution_tags_no_scrub", "Lumigo: what the user tags on purpose"},
	{aWord, "partition|key", "Kinesis, Cosmos DB, Kafka"}, {aWord, "object|key", "S3"}, {aWord, "s3|key", "S3"},
	{aWord, "s3_|key", "S3"}, {aWord, "s3object|key", "S3, in events of AWS Config"},
	{aWord, "route|key", "API Gateway: of HTTP and WebSocket APIs"},
	{aWord, "sort|key", "DynamoDB"}, {aWord, "range|key", "DynamoDB"},
	{aWord, "primary|key", "databases"}, {aWord, "foreign|key", "databases"},
	{aWord, "public|key", "it is public"}, {aWord, "idempotency|key", "names a request"},
	{aWord, "deduplication|key", "names a message"}, {aWord, "cache|key", "names an entry"},
	{aWord, "mon|key", "an animal"}, {aWord, "tur|key", "a country"}, {aWord, "hoc|key", "a sport"},
	{aWord, "don|key", "an animal"},
	{aWord, "com|pass", "no password"}, {aWord, "by|pass", "no password"},
	{aWord, "allow|credential", "CORS: true"},
	{anEnding, "key|board", "no key"}, {anEnding, "key|word", "search words"}, {anEnding, "key|space", "Cassandra, Redis"},
	{anEnding, "key|frame", "video"}, {anEnding, "key|stroke", "no key"}, {anEnding, "key|press", "no key"},
	{anEnding, "key|event", "input"}, {anEnding, "key|code", "input"}, {anEnding, "key|down", "input"},
	{anEnding, "key|before", "input: interceptKeyBeforeQueueing"},
	{anEnding, "pass|ed", "tests"}, {anEnding, "pass|enger", "travel"}, {anEnding, "pass|ive", "no password"},
	{anEnding, "pass|through", "API Gateway"}, {anEnding, "pass|ing", "tests"},
	{anEnding, "pass|ion", "no password"}, {anEnding, "key|error", "Python: it names a key that is missing"},
	{anEnding, "secret|smanager", "the service's name"}, {anEnding, "secret|ary", "a person"},
	{anEnding, "signature|version", "a number"}, {anEnding, "signature|method", "a name"},
	{anEnding, "idtoken|generation", "Cognito: claims"}, {anEnding, "accesstoken|generation", "Cognito: claims"},
	{anEnding, "authorization|type", "a name"}, {anEnding, "credential|scope", "a name"},
}

// keyRule is a pattern of the user's for keys.
type keyRule struct {
	pattern *regexp.Regexp
	action  Action
	by      uint16
}

// Key tells what a key demands for its value: nothing, or that all of it is
// masked, removed or hashed, whatever it is. path is one member, or the whole path
// with dots (user.password): longer ones than 1 KiB are judged by their end.
func (p *Policy) Key(path []byte) Action {
	action, _ := p.keyAction(path, 0)
	return action
}

const longestPath = 1 << 10

// keyAction judges the part of the path from which on nobody has been asked yet.
func (p *Policy) keyAction(path []byte, from int) (Action, uint16) {
	if cut := len(path) - longestPath; cut > 0 && from >= cut {
		path, from = path[cut:], from-cut
	}
	action, by := Keep, p.byKey
	switch {
	case p.all:
		action = p.onKey
	case p.hasKeyWord(path, from):
		action = p.onKey
	}
	for _, rule := range p.keyRules {
		if rule.action > action && rule.pattern.Match(path) {
			action, by = rule.action, rule.by
		}
	}
	if action != Keep && p.allowed(path) {
		action = Keep
	}
	for _, rule := range p.firmRules { // of these no list of allowed keys takes anything back
		if rule.action > action && rule.pattern.Match(path) {
			action, by = rule.action, rule.by
		}
	}
	if len(p.exactPaths) > 0 && p.onKey > action && p.exactPaths[strings.ToLower(string(path))] {
		action, by = p.onKey, p.byKey
	}
	return action, by
}

// pairAction is keyAction for a key that was found in text.
func (p *Policy) pairAction(key []byte) (Action, uint16) { return p.keyAction(key, 0) }

func (p *Policy) allowed(path []byte) bool {
	last := path[bytes.LastIndexByte(path, '.')+1:]
	for _, allow := range p.allow {
		if allow.Match(path) || allow.Match(last) {
			return true
		}
	}
	return false
}

// hasKeyWord looks for the words in the path, from a place on.
func (p *Policy) hasKeyWord(path []byte, from int) bool {
	a, state := &p.automaton, uint32(0)
	for i := from; i < len(path); i++ {
		state = uint32(a.next[state<<classShift|uint32(a.fold[path[i]])])
		if state < a.accepting {
			continue
		}
		for _, index := range a.ends[state-a.accepting] {
			l := &p.literals[index]
			if l.kind != keyWord || l.arg == userWord {
				continue
			}
			start := i + 1 - len(l.text)
			if keyWords[l.arg].whole && (start > 0 && path[start-1] != '.' || i+1 < len(path) && path[i+1] != '.') {
				continue
			}
			if !p.exempt(path, start, i+1) {
				return true
			}
		}
	}
	return false
}

// userWord marks the literals of the user's patterns for keys.
const userWord = 1 << 15

// weakKey tells whether a key makes a value that looks like a token one.
func (p *Policy) weakKey(key []byte) bool {
	return p.detectors.has(token) && indexFold(key, 0, "token") >= 0
}

// exempt tells whether the word path[start:end] is part of a harmless key.
func (p *Policy) exempt(path []byte, start, end int) bool {
	from := bytes.LastIndexByte(path[:start], '.') + 1
	to := len(path)
	if dot := bytes.IndexByte(path[end:], '.'); dot >= 0 {
		to = end + dot
	}
	for i := range p.exemptions {
		e := &p.exemptions[i]
		switch e.form {
		case aMember:
			if string(path[from:to]) == e.text {
				return true
			}
		case aTail:
			at := len(path) - len(e.text)
			if at >= 0 && start >= at && hasFold(path, at, e.text) && (at == 0 || path[at-1] == '.') {
				return true
			}
		case aBranch:
			if bytes.Contains(path, []byte(e.text)) {
				return true
			}
		case aWord, anEnding:
			if e.around(path, start, end) {
				return true
			}
		}
	}
	return false
}

// around tells whether the word is in the compound that e names. A compound
// begins a word, and one whose end is the word ends one: telecompass is none, nor
// is compassword.
func (e *exemption) around(path []byte, start, end int) bool {
	one, two, _ := strings.Cut(e.text, "|")
	if e.form == anEnding {
		if !hasFold(path, start, one) || end-start != len(one) {
			return false
		}
		joined := end
		if joined < len(path) && (path[joined] == '_' || path[joined] == '-') && len(two) > 3 {
			joined++
		}
		return hasFold(path, joined, two)
	}
	if !hasFold(path, start, two) || end-start != len(two) {
		return false
	}
	if start > 0 && (path[start-1] == '_' || path[start-1] == '-') && len(one) > 3 {
		start--
	}
	start -= len(one)
	if !hasFold(path, start, one) || end < len(path) && is(path[end], lower) && path[end] != 's' && two == "pass" {
		return false
	}
	return start == 0 || !is(path[start-1], alnum) || is(path[start-1], lower) && is(path[start], upper)
}

package edge

import (
	"fmt"
	"slices"
	"strings"

	"slipstream/process/redact"
)

//go:generate go test . -run Reference -update

// Reference is docs/configuration.md, made from the tables that the extension
// itself reads. `go test ./edge -run Reference -update` rewrites the page.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Configuration of the extension\n\n" +
		"<!-- Generated from edge/variables.go, edge/destinations.go and edge/reference.go; edit there. -->\n\n" +
		"Set these as environment variables of the function, or in [a file](#the-file). A value that cannot be used is " +
		"one line in the log, and the default is taken. `slipstream doctor` tells what a function's settings amount to, " +
		"where each comes from, and what is wrong with them.\n\n" +
		"| variable | default | meaning |\n|---|---|---|\n")
	for _, v := range variables {
		value := "–"
		if v.value != "" {
			value = "`" + v.value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(v.name, ", ", "`, `"), value, escapeCell(v.doc))
	}
	b.WriteString("\n## Destinations\n\n" +
		"A destination is a URL. Options are its query parameters. What is secret in it is written as a " +
		"[reference](#secrets).\n\n" +
		"| URL | what it is |\n|---|---|\n")
	for _, s := range schemes {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s.example, escapeCell(s.doc))
	}
	b.WriteString("\n| option | for | default | meaning |\n|---|---|---|---|\n")
	for _, o := range options {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.name, o.where, o.value, escapeCell(o.doc))
	}
	b.WriteString(strings.ReplaceAll(redactionText, "´", "`") + detectorTable())
	b.WriteString(strings.ReplaceAll(fileText+secretsText, "´", "`"))
	return b.String()
}

// detectorDocs says what each detector finds, in the order of redact's own list.
var detectorDocs = [][2]string{
	{"aws_access_key", "access key ids of AWS: `AKIA…`, `ASIA…`, `ABIA…`, `ACCA…`"},
	{"aws_secret_key", "40 characters of base64 near such an id or the word secret"},
	{"bearer", "the token behind `Bearer`"},
	{"basic", "user and password behind `Basic`"},
	{"jwt", "JSON Web Tokens"},
	{"private_key", "private keys in PEM, also where the beginning or the end is cut off"},
	{"credit_card", "card numbers with the networks' prefixes, lengths and check digit, in groups or not"},
	{"iban", "bank accounts with their country's length and check digits"},
	{"email", "e-mail addresses"},
	{"ip", "IPv4 and IPv6 addresses"},
	{"phone", "telephone numbers: `+` and 8 to 15 digits, or as North America groups them"},
	{"us_ssn", "social security numbers of the US, with dashes"},
	{"api_key", "keys that say whose they are: GitHub, GitLab, Slack, Stripe, Google, Azure, OpenAI, Anthropic, New " +
		"Relic, Twilio, SendGrid, npm, PyPI and about thirty more; webhooks of Slack, Discord and Teams"},
	{"url_password", "the password in `scheme://user:password@host`"},
	{"token", "values of keys such as `token` that look made by a machine"},
	{"high_entropy", "any word of 20 characters and more that looks random"},
}

// detectorTable is a table of the detectors.
func detectorTable() string {
	var b strings.Builder
	standard, _ := redact.ParseDetectors("default") // a word that it knows
	on := strings.Split(standard.String(), ",")
	b.WriteString("| detector | by default | finds |\n|---|---|---|\n")
	for _, d := range detectorDocs {
		word := "off"
		if slices.Contains(on, d[0]) {
			word = "on"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d[0], word, escapeCell(d[1]))
	}
	return b.String()
}

// keyTables are the tables of secret keys in docs/guides/redaction.md.
func keyTables() string {
	var b strings.Builder
	words, exempt := redact.DefaultKeys()
	b.WriteString("| in a key | because |\n|---|---|\n")
	for _, w := range words {
		fmt.Fprintf(&b, "| `%s` | %s |\n", w[0], escapeCell(w[1]))
	}
	b.WriteString("\n| no secret | because |\n|---|---|\n")
	for _, e := range exempt {
		fmt.Fprintf(&b, "| `%s` | %s |\n", e[0], escapeCell(e[1]))
	}
	return b.String()
}

// redactionText, fileText and secretsText are prose of the page; ´ stands for a back quote.
const redactionText = `
## Redaction

SLIPSTREAM_REDACT takes names of detectors, separated by commas, from left to right: ´default,+ip,-email´ or, shorter,
´+ip,-email´. [The guide](guides/redaction.md) says which keys are secret besides, and how to add rules of your own.

`

const fileText = `
## The file

SLIPSTREAM_CONFIG_FILE names a YAML file in the function's package or in a layer. Without the variable no file is
looked for: a cold start pays for nothing that is not asked for. The keys are the names of the variables above that
begin with SLIPSTREAM_, in lower case and without that; a variable that is set wins over the file. ´OTEL_*´, ´AWS_*´
and the drop-in modes stay variables.

´´´yaml
destinations:
  - s3://my-logs/app
  - https://logs.example.com/in?token=${secretsmanager:prod/logs#token}
max_staleness: 20s
batch_bytes: 65536
listen: [otlp, statsd]
´´´

Of settings that are lists, a YAML list may stand for the commas. Where a setting's text is JSON, lists and maps of the
file become that JSON. Anchors, aliases and tags are not read; a file has at most 64 KiB and one document.

What is wrong in the file (an unknown key, a value of the wrong kind, a rule of YAML that is broken) costs that one
entry and is a line in the log with file and line number; the rest of the file counts. With SLIPSTREAM_STRICT it ends
Init.
`

const secretsText = `
## Secrets

A reference stands for a value that is kept elsewhere. It may stand in a destination's address, in its options ´token´,
´query´, ´region´, ´endpoint´ and ´header.NAME´, in a ´fallback´, in ´OTEL_EXPORTER_OTLP_HEADERS´ and its kin, and in
ED_ENDPOINT.

| reference | stands for | the function's role needs |
|---|---|---|
| ´${env:NAME}´ | the variable NAME; anywhere in a destination | – |
| ´${secretsmanager:NAME}´ | a secret of AWS Secrets Manager, by name or ARN | secretsmanager:GetSecretValue |
| ´${ssm:NAME}´ | a parameter of Systems Manager, by name or ARN, decrypted | ssm:GetParameter |
| ´${kms:CIPHERTEXT}´ | what KMS makes of a base64 text of ´aws kms encrypt´ or Lambda's console | kms:Decrypt |

A secret or parameter that is encrypted with a key of your own needs kms:Decrypt on that key, too. ´#MEMBER´ behind the
name takes one member of a JSON object: ´${secretsmanager:prod/logs#token}´. An ARN's region wins over the function's.
Line ends after a value are cut off. The scheme of a destination is needed before a secret is known, so it cannot be
one.

- They are resolved with the first batch, never in Init, and with SnapStart after the restore; all at once, each once,
  and kept in memory.
- One that cannot be resolved is a failed delivery: the destination's records wait and are tried again with a backoff,
  others go on. What AWS refuses is asked for again after 30 s at the earliest. What is left at SHUTDOWN counts as
  undelivered.
- When a destination answers 401 or 403, its references are resolved again, at most once a minute. If a value has
  changed, the batch is sent again with the new one.
- No value is in any message; names and references are. ´slipstream doctor --resolve´ tries them.
`

func escapeCell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

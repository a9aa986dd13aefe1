package edge

import (
	"fmt"
	"strings"
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
	b.WriteString(strings.ReplaceAll(fileText+secretsText, "´", "`"))
	return b.String()
}

// fileText and secretsText are prose of the page; ´ stands for a back quote.
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
